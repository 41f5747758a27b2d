// OHIF as a client of the server under test; the test in interop_ohif.rs runs it.
//
//   node view.cjs VIEWER PORT DICOMWEB TOKEN SCREENSHOTS STUDY...
//
// It serves the folder VIEWER, which is OHIF as its package ships it, on PORT, and has Chromium open
// the list of studies and each STUDY, from another origin than DICOMWEB: what a browser asks of a
// server that is not the page's own is tested too. A picture of each page is left in the folder
// SCREENSHOTS. It ends with exit status 0 and a last line of JSON, or with a trace.
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { chromium } = require('playwright-core');

const PATIENCE_MS = Number(process.env.PACS_OHIF_PATIENCE_MS ?? 90_000);
// Samples a side of what is told of a picture.
const GRID = 48;

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm', '.json': 'application/json', '.svg': 'image/svg+xml', '.png': 'image/png' };

function configuration(dicomweb, token) {
  const source = {
    friendlyName: 'the server under test',
    name: 'pacs',
    qidoRoot: dicomweb,
    wadoRoot: dicomweb,
    imageRendering: 'wadors',
    thumbnailRendering: 'wadors',
    enableStudyLazyLoad: true,
    supportsFuzzyMatching: true,
    supportsWildcard: true,
    qidoSupportsIncludeField: true,
    omitQuotationForMultipartRequest: true,
    bulkDataURI: { enabled: true },
  };
  const config = {
    routerBasename: null,
    extensions: [],
    modes: [],
    customizationService: {},
    showStudyList: true,
    maxNumberOfWebWorkers: 2,
    showLoadingIndicator: true,
    investigationalUseDialog: { option: 'never' },
    defaultDataSourceName: 'pacs',
    dataSources: [{ namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'pacs', configuration: source }],
  };
  // As a page that signs its users in would: the services are registered before the timer fires.
  const headers = { Authorization: `Bearer ${token}` };
  return `window.config = ({ servicesManager }) => {
    setTimeout(() => servicesManager.services.userAuthenticationService.setServiceImplementation({
      getAuthorizationHeader: () => (${JSON.stringify(headers)}),
    }));
    return ${JSON.stringify(config)};
  };`;
}

// OHIF's files; every other path is its page, as it wants it.
function serve(folder, config, port) {
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    if (pathname === '/app-config.js') {
      response.writeHead(200, { 'Content-Type': 'text/javascript' }).end(config);
      return;
    }
    const wanted = path.join(folder, path.normalize(pathname));
    const isFile = wanted.startsWith(folder) && fs.existsSync(wanted) && fs.statSync(wanted).isFile();
    const file = isFile ? wanted : path.join(folder, 'index.html');
    response.writeHead(200, { 'Content-Type': TYPES[path.extname(file)] ?? 'application/octet-stream' });
    fs.createReadStream(file).pipe(response);
  });
  return new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve(server)));
}

// What the first viewport shows: mean grays of the square in its middle, row by row.
function grays(grid) {
  const canvas = document.querySelector('canvas.cornerstone-canvas');
  const side = Math.min(canvas.width, canvas.height);
  const small = document.createElement('canvas');
  small.width = small.height = grid;
  const context = small.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(canvas, (canvas.width - side) / 2, (canvas.height - side) / 2, side, side, 0, 0, grid, grid);
  const { data } = context.getImageData(0, 0, grid, grid);
  const out = [];
  for (let at = 0; at < data.length; at += 4) out.push(Math.round((data[at] + data[at + 1] + data[at + 2]) / 3));
  return out;
}

// Whether the first viewport shows more than one gray.
function hasPicture() {
  const canvas = document.querySelector('canvas.cornerstone-canvas');
  if (!canvas || !canvas.width || !canvas.height) return false;
  const context = canvas.getContext('2d');
  if (!context) return false;
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const seen = new Set();
  for (let at = 0; at < data.length && seen.size < 16; at += 4 * 97) seen.add(data[at]);
  return seen.size >= 16;
}

async function main([viewer, port, dicomweb, token, screenshots, ...studies]) {
  const server = await serve(path.resolve(viewer), configuration(dicomweb, token), Number(port));
  const browser = await chromium.launch({
    executablePath: process.env.PACS_CHROMIUM ?? '/usr/bin/chromium',
    // Drawn by the processor; Chromium's own sandbox cannot be had by root.
    args: ['--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--disable-dev-shm-usage'],
  });
  const failed = [];
  const said = [];
  const asked = new Set();
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  try {
    page.setDefaultTimeout(PATIENCE_MS);
    page.on('console', (message) => message.type() === 'error' && said.push(message.text().slice(0, 300)));
    page.on('pageerror', (error) => said.push(String(error).slice(0, 300)));
    const isOurs = (url) => url.startsWith(dicomweb);
    page.on('response', (response) => {
      const request = response.request();
      if (!isOurs(response.url())) return;
      asked.add(`${request.method()} ${new URL(response.url()).pathname.replace(/[0-9]+(\.[0-9]+)+/g, '*')} ${request.headers().accept}`);
      if (response.status() >= 400) failed.push(`${response.status()} ${request.method()} ${response.url()}`);
    });
    // What the page takes back, because it is left or scrolls on, is no failure of the server: a cut
    // connection has other names.
    page.on('requestfailed', (request) => {
      const error = request.failure()?.errorText;
      if (isOurs(request.url()) && error !== 'net::ERR_ABORTED') failed.push(`${error} ${request.url()}`);
    });

    await page.goto(`http://127.0.0.1:${port}/`, { waitUntil: 'domcontentloaded' });
    await page.waitForSelector('tbody tr, [data-cy="study-list-results"] tr');
    const list = await page.evaluate(() => document.body.innerText);
    await page.screenshot({ path: path.join(screenshots, 'list.png') });

    const shown = [];
    for (const [index, study] of studies.entries()) {
      await page.goto(`http://127.0.0.1:${port}/viewer?StudyInstanceUIDs=${study}`, { waitUntil: 'domcontentloaded' });
      await page.waitForFunction(hasPicture, undefined, { polling: 250 }).catch((error) => said.push(`no picture: ${error.message}`));
      await page.screenshot({ path: path.join(screenshots, `study-${index + 1}.png`) });
      const has = await page.evaluate(hasPicture);
      shown.push({ study, grays: has ? await page.evaluate(grays, GRID) : [], text: await page.evaluate(() => document.body.innerText.slice(0, 1000)) });
    }
    return { list, shown, grid: GRID, failed, said, asked: [...asked].sort() };
  } catch (error) {
    await page.screenshot({ path: path.join(screenshots, 'failed.png') });
    console.error({ failed, said, asked: [...asked] });
    throw error;
  } finally {
    await browser.close();
    server.close();
    server.closeAllConnections();
  }
}

main(process.argv.slice(2)).then(
  (result) => console.log(JSON.stringify(result)),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
