//! What is drawn while long work goes on, where standard error is a terminal: script(1) is one.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use pacs_tests::samples::write_study;
use pacs_tests::wire::Sink;
use pacs_tests::wire::sink::Takes;
use pacs_tests::workspace;

/// `pacs` on a terminal.
struct Terminal {
    child: Child,
    shown: String,
}

/// What a bar says.
#[derive(Clone, Debug, PartialEq)]
struct Bar {
    /// What is counted each second.
    rate: f64,
    unit: String,
    left: String,
}

/// Reads `importing [==>   ] 1.20 MiB/3.40 MiB 5.60 MiB/s, 2s left`.
fn bar(frame: &str, what: &str) -> Option<Bar> {
    let rest = frame.split_once(what)?.1.strip_prefix(" [")?;
    let (drawn, rest) = rest.split_once("] ")?;
    let is_bar = drawn.len() == 24 && drawn.chars().all(|c| "=> ".contains(c));
    let (counts, left) = rest.split_once("/s, ")?;
    let mut words = counts.rsplit(' ');
    let (unit, number) = (words.next()?, words.next()?);
    let left = left.split_once(" left")?.0;
    let (digits, time) = left.split_at(left.find(|c: char| !c.is_ascii_digit())?);
    let is_time = !digits.is_empty() && ["s", "m", "h", "d"].contains(&time);
    (is_bar && is_time).then_some(Bar {
        rate: number.replace(',', "").parse().ok()?,
        unit: unit.to_owned(),
        left: left.to_owned(),
    })
}

impl Terminal {
    /// Starts `pacs` with these arguments; none has a quotation mark in it.
    fn start(arguments: &[&str]) -> Self {
        let mut line = format!(
            "stty cols 160; exec '{}'",
            workspace::binary("pacs").display()
        );
        for argument in arguments {
            line.push_str(&format!(" '{argument}'"));
        }
        let child = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Self {
            child: child.expect("script(1) runs"),
            shown: String::new(),
        }
    }

    /// Reads on until a bar says how fast it goes, or the end.
    fn bar(&mut self, what: &str) -> Option<Bar> {
        let mut bytes = [0; 4096];
        loop {
            let mut frames = self.shown.split(['\r', '\n', '\x1b']).rev();
            let found = frames.find_map(|frame| bar(frame, what).filter(|bar| bar.rate > 0.0));
            if found.is_some() {
                return found;
            }
            let output = self.child.stdout.as_mut().expect("piped");
            // A terminal whose other side is gone ends with an error.
            match output.read(&mut bytes) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self
                    .shown
                    .push_str(&String::from_utf8_lossy(&bytes[..count])),
            }
        }
    }

    /// All that was shown until the end, which is a good one.
    fn end(mut self) -> String {
        let output = self.child.stdout.as_mut().expect("piped");
        let mut rest = Vec::new();
        output.read_to_end(&mut rest).ok();
        self.shown.push_str(&String::from_utf8_lossy(&rest));
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{}", self.shown);
        self.shown
    }
}

/// script(1) of util-linux, which every Debian has.
fn has_script() -> bool {
    let is_there = ["/usr/bin/script", "/bin/script"]
        .iter()
        .any(|path| Path::new(path).is_file());
    if !is_there {
        workspace::skip("script(1)");
    }
    is_there
}

#[test]
fn a_terminal_shows_how_fast_files_are_sent_and_how_long_it_still_takes() {
    if !has_script() {
        return;
    }
    let home = workspace::temporary_folder();
    let medium = home.path().join("medium");
    assert_eq!(write_study(&medium, 1, 40).len(), 40);
    let sink = Sink::start(Takes::Everything);
    sink.pause_after(10);
    let peer = format!("SINK@{}", sink.address());
    let journal = home.path().join("journal");
    let (journal, medium) = (
        journal.to_str().expect("UTF-8"),
        medium.to_str().expect("UTF-8"),
    );

    // The peer waits until the bar was seen.
    let mut terminal = Terminal::start(&["store", &peer, medium, "--journal", journal]);
    let bar = terminal.bar("sending");
    sink.go_on();
    let shown = terminal.end();

    let bar = bar.unwrap_or_else(|| panic!("no bar in {shown:?}"));
    assert!(bar.unit.ends_with('B'), "{bar:?}");
    assert_eq!(sink.take().len(), 40);
    let last = shown
        .split(['\r', '\n', '\x1b'])
        .rfind(|frame| frame.contains("40 "));
    assert!(
        last.is_some_and(|last| last.contains("stored")),
        "{shown:?}"
    );
}

#[test]
fn a_terminal_shows_how_fast_files_are_imported_and_how_long_it_still_takes() {
    if !has_script() {
        return;
    }
    let home = workspace::temporary_folder();
    let (data, medium) = (home.path().join("data"), home.path().join("medium"));
    assert_eq!(write_study(&medium, 1, 400).len(), 400);
    let (data, medium) = (
        data.to_str().expect("UTF-8"),
        medium.to_str().expect("UTF-8"),
    );

    // Each waits for a sync of its own: there is time to see a bar.
    let mut terminal = Terminal::start(&["import", medium, "--data", data, "--deposits", "1"]);
    let bar = terminal.bar("importing");
    let shown = terminal.end();

    let bar = bar.unwrap_or_else(|| panic!("no bar in {shown:?}"));
    assert!(bar.unit.ends_with('B'), "{bar:?}");
    assert!(shown.contains("400 imported"), "{shown:?}");
}

#[test]
fn what_is_no_terminal_is_shown_no_bar() {
    let home = workspace::temporary_folder();
    let (data, medium) = (home.path().join("data"), home.path().join("medium"));
    assert_eq!(write_study(&medium, 1, 20).len(), 20);
    let mut pacs = Command::new(workspace::binary("pacs"));
    pacs.arg("import").arg(&medium).arg("--data").arg(&data);

    let said = pacs_tests::peers::run(&mut pacs).succeeded();

    assert!(said.text.contains("20 imported"), "{}", said.text);
    assert!(
        !said.text.contains("left") && !said.text.contains('\r'),
        "{}",
        said.text
    );
}
