// dcmjs-dimse as a peer of the server under test; the tests in interop_commitment.rs run it.
//
//   node peer.cjs COMMAND HOST PORT [ARGUMENTS]
//
// Every command ends with exit status 0 and a last line of JSON. NODE_PATH leads to dcmjs-dimse.
'use strict';

const dcmjsDimse = require('dcmjs-dimse');
const { Client, Dataset, Scp, Server } = dcmjsDimse;
const { NActionRequest } = dcmjsDimse.requests;
const { NEventReportResponse } = dcmjsDimse.responses;
const { PresentationContextResult, Status } = dcmjsDimse.constants;

dcmjsDimse.log.level = 'error';

const COMMITMENT = '1.2.840.10008.1.20.1';
const COMMITMENT_INSTANCE = '1.2.840.10008.1.20.1.1';
const PATIENCE_MS = 60000;

function request(transaction, references) {
  const action = new NActionRequest(COMMITMENT, COMMITMENT_INSTANCE, 1);
  action.setDataset(
    new Dataset({
      TransactionUID: transaction,
      ReferencedSOPSequence: references.map((reference) => {
        const [sopClass, sopInstance] = reference.split('=');
        return { ReferencedSOPClassUID: sopClass, ReferencedSOPInstanceUID: sopInstance };
      }),
    })
  );
  return action;
}

function items(sequence) {
  return sequence === undefined ? [] : [].concat(sequence);
}

function told(event) {
  const report = event.getDataset().getElements();
  const failed = {};
  items(report.FailedSOPSequence).forEach((item) => {
    failed[item.ReferencedSOPInstanceUID] = item.FailureReason;
  });
  return {
    event_type: event.getEventTypeId(),
    transaction: report.TransactionUID,
    committed: items(report.ReferencedSOPSequence).map((item) => item.ReferencedSOPInstanceUID),
    failed,
  };
}

function accept(event, callback) {
  const response = NEventReportResponse.fromRequest(event);
  response.setStatus(Status.Success);
  callback(response);
}

function end(answer) {
  console.log(JSON.stringify(answer));
  process.exit(0);
}

// Asks, and waits for the report on the same association.
function commitHere(host, port, transaction, ...references) {
  const client = new Client();
  const answer = { status: null, reports: [] };
  const action = request(transaction, references);
  action.on('response', (response) => {
    answer.status = response.getStatus();
  });
  client.on('nEventReportRequest', (event, callback) => {
    answer.reports.push(told(event));
    accept(event, callback);
    // The response goes out before the process ends.
    setTimeout(() => end(answer), 200);
  });
  client.on('networkError', (error) => {
    throw error;
  });
  client.addRequest(action);
  client.send(host, Number(port), 'DCMJS', 'PACS', { associationLingerTimeout: PATIENCE_MS });
  setTimeout(() => end(answer), PATIENCE_MS);
}

// Asks, releases, and waits for the report on an association with reversed roles.
function commitElsewhere(host, port, ownPort, transaction, ...references) {
  const answer = { status: null, reports: [] };

  class Receiver extends Scp {
    associationRequested(association) {
      association.getPresentationContexts().forEach(({ id }) => {
        const context = association.getPresentationContext(id);
        const result =
          context.getAbstractSyntaxUid() === COMMITMENT
            ? PresentationContextResult.Accept
            : PresentationContextResult.RejectAbstractSyntaxNotSupported;
        context.setResult(result, context.getTransferSyntaxUids()[0]);
      });
      this.sendAssociationAccept();
    }

    nEventReportRequest(event, callback) {
      answer.reports.push(told(event));
      accept(event, callback);
    }

    associationReleaseRequested() {
      this.sendAssociationReleaseResponse();
      setTimeout(() => end(answer), 200);
    }
  }

  const server = new Server(Receiver);
  server.on('networkError', () => {});
  server.listen(Number(ownPort));
  const client = new Client();
  const action = request(transaction, references);
  action.on('response', (response) => {
    answer.status = response.getStatus();
  });
  client.addRequest(action);
  client.send(host, Number(port), 'DCMJS', 'PACS');
  setTimeout(() => end(answer), PATIENCE_MS);
}

const commands = { commit_here: commitHere, commit_elsewhere: commitElsewhere };
commands[process.argv[2]](...process.argv.slice(3));
