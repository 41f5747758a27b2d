"""Holds what a run writes to the disk to so many bytes a second, as slower disks do by themselves.

The processors of a machine and its disk are seldom of one age: where the disk is much faster than what a ratio was meant for, the
bound is what the processors can do, and says nothing of how well a disk is used. The kernel does the holding, for this process and
all that it starts (cgroups; root only)."""
import os
import sys

V1, V2 = "/sys/fs/cgroup/blkio", "/sys/fs/cgroup"
NAME = "pacs-bench"


def whole_disk(path):
    """The number of the disk that `path` lies on, not of its partition."""
    device = os.stat(path).st_dev
    at = os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    if os.path.exists(at + "/partition"):
        at = os.path.dirname(at)
    with open(at + "/dev") as f:
        return f.read().strip()


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def hold(path, bytes_per_second):
    """From now on, for everything that is written to the disk that `path` lies on."""
    try:
        disk = whole_disk(path)
        if os.path.isdir(V1):
            os.makedirs(f"{V1}/{NAME}", exist_ok=True)
            write(f"{V1}/{NAME}/blkio.throttle.write_bps_device", f"{disk} {bytes_per_second}")
            write(f"{V1}/{NAME}/cgroup.procs", str(os.getpid()))
        else:
            write(f"{V2}/cgroup.subtree_control", "+io")
            os.makedirs(f"{V2}/{NAME}", exist_ok=True)
            write(f"{V2}/{NAME}/io.max", f"{disk} wbps={bytes_per_second}")
            write(f"{V2}/{NAME}/cgroup.procs", str(os.getpid()))
    except OSError as error:
        sys.exit(f"the disk cannot be held to {bytes_per_second} bytes a second here: {error}")
