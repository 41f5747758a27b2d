//! Loss of power: ten cuts, and the control that must lose something.
//!
//! `cargo xtask crash --power` runs the same campaign two hundred times. Each test runs the
//! campaign as a program, in a mount namespace of its own, so that no mount and no loop device
//! outlives it whatever happens. It needs root, loop devices and ext4, and says when it skips.

use std::process::{Command, Output};

/// The campaign cannot run here, and said why.
const IMPOSSIBLE: i32 = 77;

/// Runs the campaign; nothing when it cannot run here.
fn campaign(arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crash-campaign"));
    let output = command.arg("--power").args(arguments).output();
    let output = output.expect("the campaign runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(IMPOSSIBLE) {
        eprintln!("{said}");
        return None;
    }
    assert!(output.status.success(), "{}:\n{said}", output.status);
    Some(output)
}

/// The loop devices that are in use: the files behind them, as the kernel names them.
fn files_behind_loop_devices() -> Vec<String> {
    let mut files = Vec::new();
    for device in std::fs::read_dir("/sys/block").expect("Linux") {
        let file = device.expect("an entry").path().join("loop/backing_file");
        files.extend(std::fs::read_to_string(file));
    }
    files
}

#[test]
fn nothing_acknowledged_is_lost_in_ten_cuts_of_the_power() {
    let Some(output) = campaign(&["--cuts", "10", "--seed", "20261125"]) else {
        return;
    };

    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("nothing lost"), "{said}");
    let build_folder = pacs_tests::workspace::build_folder();
    let build_folder = build_folder.to_str().expect("UTF-8");
    let mounts = std::fs::read_to_string("/proc/mounts").expect("Linux");
    assert!(!mounts.contains(build_folder), "a mount is left: {mounts}");
}

#[test]
fn a_server_that_does_not_sync_is_found_out_within_twenty_cuts() {
    let Some(output) = campaign(&["--without-syncs", "true", "--seed", "1"]) else {
        return;
    };

    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("the loss was noticed at cut"), "{said}");
}

/// Whoever kills the campaign, or presses Ctrl-C, finds no mount and no loop device afterwards.
#[test]
fn a_campaign_that_is_killed_leaves_no_loop_device_behind() {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;

    if campaign(&["--ask-only", "true"]).is_none() {
        return;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_crash-campaign"));
    let mut child = command
        .args(["--power", "--cuts", "1000", "--seed", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the campaign runs");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let mut lines = output.lines().map(|line| line.expect("text"));
    let image = lines.find_map(|line| line.strip_prefix("image ").map(str::to_owned));
    let image = image.expect("the campaign says where its image is");
    assert!(
        files_behind_loop_devices()
            .iter()
            .any(|file| file.trim_end() == image),
        "{image} is not mounted"
    );

    child.kill().expect("the campaign runs");
    child.wait().expect("a killed campaign can be waited for");
    // The kernel takes the mounts of a namespace away a moment after its last process.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while files_behind_loop_devices()
        .iter()
        .any(|file| file.trim_end() == image)
    {
        assert!(
            std::time::Instant::now() < deadline,
            "{image} is still mounted"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let folder = std::path::Path::new(&image).parent().expect("a folder");
    std::fs::remove_dir_all(folder).expect("nothing is mounted below it");
}
