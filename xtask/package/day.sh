#!/bin/bash
# An administrator's day on a bare Debian machine, as docs/operations.md tells it, from the
# installation of the package to its purge. `cargo xtask package --try` runs it, as root and in a
# mount namespace of its own. The machine is booted by systemd-nspawn and has its own address.
#
# day.sh RELEASE PACKAGE FOLDER TESTDATA TOOL [EARLIER-PACKAGE]
set -euo pipefail

release=$1 package=$2 folder=$3 testdata=$4 tool=$5 earlier=${6:-}
machine=$folder/$release
work=$folder/work
manual=$(cd "$(dirname "$0")/../.." && pwd)/docs/operations.md
here=198.51.100.1 # addresses of documentation (RFC 5737): no network has them
there=198.51.100.2
title="" began=0 leader="" receiver=""

step() {
    conclude passed
    title=$1 began=$SECONDS
    echo
    echo "== $release: $title"
}

conclude() {
    [ -z "$title" ] || printf '%-8s %4d s  %s\n' "$1" $((SECONDS - began)) "$title" >>"$work/table"
    title=""
}

# Runs a line in the machine, as root typed it.
inside() {
    echo "  # $*"
    nsenter -t "$leader" -m -u -i -p -n -- /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/root TERM=dumb LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive bash -c "cd /media; $*"
}

# Runs a command outside, as a device or another computer would.
outside() {
    echo "  $ $(basename "$1") ${*:2}"
    "$@"
}

must_fail() {
    if "$@"; then
        echo "this must not succeed: $*"
        exit 1
    fi
}

# A systemd unit as the manual has it.
unit_of_manual() {
    awk -v name="/etc/systemd/system/$1" '
        index($0, name) { found = 1 }
        found && !within && /^```ini$/ { within = 1; next }
        within && /^```$/ { exit }
        within' "$manual"
}

stop_all() {
    local status=$?
    if [ $status != 0 ]; then
        conclude FAILED
        [ -z "$leader" ] || inside "journalctl -u pacs-server --no-pager | tail -n 30" || true
    fi
    [ -z "$receiver" ] || kill "$receiver" 2>/dev/null || true
    if [ -n "$leader" ]; then
        kill -RTMIN+4 "$leader" 2>/dev/null || true # poweroff.target
        wait "$booted" 2>/dev/null || true
    fi
    rm -rf "$machine"
    echo
    cat "$work/table"
    exit $status
}

# The data set of a file: what follows the File Meta Information (PS3.10 7.1), whose group length
# stands at 140.
digests() {
    find "$1" -type f -print0 | while IFS= read -r -d '' file; do
        length=$(od -An -tu4 -j140 -N4 "$file" | tr -d ' ')
        tail -c +$((145 + length)) "$file" | sha256sum
    done | sort
}

boot() {
    local options=()
    # A systemd that has left the first hierarchy of control groups behind wants to be told.
    [ -f /sys/fs/cgroup/cgroup.controllers ] || options+=(SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1)
    systemd-nspawn --quiet --keep-unit --register=no --network-veth --machine=pacsday \
        --console=pipe --directory="$machine" --boot "${options[@]}" </dev/null >"$work/console" 2>&1 &
    booted=$!
    for _ in $(seq 100); do
        leader=$(pgrep -P "$booted" -x systemd || true)
        [ -n "$leader" ] && inside "systemctl is-system-running" 2>/dev/null |
            grep -q "running\|degraded" && break
        kill -0 "$booted" 2>/dev/null || break
        sleep 0.3
    done
    [ -n "$leader" ] || { tail -n 20 "$work/console"; return 1; }
    ip address add $here/24 dev ve-pacsday
    ip link set ve-pacsday up
    nsenter -t "$leader" -n ip address add $there/24 dev host0
    nsenter -t "$leader" -n ip link set host0 up
}

# As the workstation, with our tool: DCMTK's own for C-MOVE does not speak TLS.
as_ws1=(PACS@$there:2762 --tls --tls-ca authority.pem --tls-cert ws1.pem --tls-key ws1.key
    --ae-title KRKL_WS1)

# Study UID and number of instances of all studies.
studies() {
    "$tool" find "${as_ws1[@]}" -k StudyInstanceUID -k NumberOfStudyRelatedInstances --json |
        grep '"kind":"result"' | sort
}

uids() {
    grep -o '"StudyInstanceUID":"[^"]*"' "$1" | cut -d'"' -f4
}

# Gets everything by C-GET, and digests what came.
get_all() {
    rm -rf "$1"
    for uid in $(uids before.studies); do
        "$tool" get "${as_ws1[@]}" -k StudyInstanceUID="$uid" --out "$1/$uid" >>"$1.log" || [ $? = 4 ]
    done
    digests "$1" >"$1.digests"
    echo "  $(wc -l <before.studies) studies, $(wc -l <"$1.digests") instances"
    [ -s "$1.digests" ]
}

umount -R "$machine" 2>/dev/null || true
rm -rf "$machine" "$work"
mkdir -p "$work"
: >"$work/table"
cd "$work"
trap stop_all EXIT
mount --make-rprivate /
mount -t tmpfs tmpfs /run # nspawn wants one of its own

step "a bare machine"
if [ ! -d "$folder/$release.clean" ]; then
    # Where apt of this machine gets Debian from.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
        grep '/debian/*$' | head -n 1)
    debootstrap --variant=minbase \
        --include=systemd,systemd-sysv,dbus,adduser,openssl,ca-certificates,curl \
        "$release" "$folder/$release.part" "$mirror"
    mv "$folder/$release.part" "$folder/$release.clean"
fi
cp -a "$folder/$release.clean" "$machine"
boot
inside "cat /etc/debian_version; systemctl is-system-running" || true

step "install the package"
cp "${earlier:-$package}" "$machine/media/pacs-server.deb"
inside "apt-get install -q -y ./pacs-server.deb" | grep -v "^(Reading"
inside "systemctl is-active pacs-server && systemctl is-enabled pacs-server"
inside "stat -c '%A %U:%G %n' /etc/pacs /etc/pacs/pacs.toml /var/lib/pacs"
for _ in $(seq 50); do inside "pacs echo PACS@127.0.0.1:11112" && break || sleep 0.1; done

if [ -n "$earlier" ]; then
    step "upgrade from an earlier package while it serves"
    before=$(inside "systemctl show -P MainPID pacs-server" | tail -n 1)
    cp "$package" "$machine/media/pacs-server.deb"
    inside "apt-get install -q -y ./pacs-server.deb" | grep -v "^(Reading"
    inside "systemctl is-active pacs-server && pacs echo PACS@127.0.0.1:11112"
    after=$(inside "systemctl show -P MainPID pacs-server" | tail -n 1)
    [ "$before" != "$after" ] # it is the new one that runs
fi

step "the unit"
inside "ls /usr/share/man/man1/pacs-server.1.gz /usr/share/bash-completion/completions/pacs"
inside "systemd-analyze verify pacs-server.service"
# Fails above 2.0 of 10: who takes a line of hardening away has to say so here.
inside "systemd-analyze security --no-pager --threshold=20 pacs-server.service" | tail -n 1

step "an authority and certificates"
openssl req -x509 -newkey rsa:3072 -nodes -days 3650 -subj "/O=Hospital/CN=Hospital devices" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout authority.key -out authority.pem 2>/dev/null
for device in archive ct1 ws1; do
    address=$here
    [ $device != archive ] || address=$there
    openssl req -newkey rsa:3072 -nodes -subj "/O=Hospital/CN=$device" \
        -keyout $device.key -out $device.csr 2>/dev/null
    printf 'subjectAltName=DNS:%s.hospital.example,IP:%s\n' $device $address >$device.ext
    openssl x509 -req -in $device.csr -CA authority.pem -CAkey authority.key -CAcreateserial \
        -days 825 -extfile $device.ext -out $device.pem 2>/dev/null
done
fingerprint=$(openssl x509 -in ct1.pem -noout -fingerprint -sha256 | cut -d= -f2)
subject=$(openssl x509 -in ws1.pem -noout -subject -nameopt RFC2253 | cut -d= -f2-)
echo "  ct1 $fingerprint, ws1 $subject"

step "TLS and two AEs"
cp archive.pem archive.key authority.pem "$machine/media/"
cat >"$machine/media/pacs.toml" <<END
data = "/var/lib/pacs"

[dicom]
address = "127.0.0.1:11112"
ae_title = "PACS"

[http]
address = "127.0.0.1:8080"

[dicom.tls]
address = "0.0.0.0:2762"
certificate = "/etc/pacs/archive.pem"
key = "/etc/pacs/archive.key"
client_ca = "/etc/pacs/authority.pem"
ca = "/etc/pacs/authority.pem"

[[dicom.ae]]
title = "KRKL_CT1"
address = "$here:11113"
allow = ["echo", "store", "commit"]
tls = true
certificate_sha256 = ["$fingerprint"]

[[dicom.ae]]
title = "KRKL_WS1"
address = "$here:11114"
allow = ["echo", "find", "get", "move"]
move_to = ["KRKL_WS1"]
tls = true
certificate_subject = "$subject"
END
inside "cat pacs.toml > /etc/pacs/pacs.toml"
inside "install -o root -g root -m 0600 archive.key archive.pem authority.pem /etc/pacs/"
must_fail inside "systemctl restart pacs-server"
inside "journalctl -u pacs-server --no-pager -o cat | grep -o 'archive.*cannot be read.*denied'"
inside "install -o root -g pacs -m 0640 archive.key archive.pem authority.pem /etc/pacs/"
inside "rm archive.key"
inside "pacs ae list --config /etc/pacs/pacs.toml"
inside "systemctl restart pacs-server && systemctl status --no-pager pacs-server | head -n 4"

step "devices from outside, the right ones and the wrong"
outside echoscu -aet KRKL_CT1 -aec PACS +tls ct1.key ct1.pem +cf authority.pem $there 2762
outside echoscu -aet KRKL_WS1 -aec PACS +tls ws1.key ws1.pem +cf authority.pem $there 2762
must_fail outside echoscu -aet KRKL_WS1 -aec PACS +tls ct1.key ct1.pem +cf authority.pem $there 2762
must_fail outside echoscu -aet KRKL_CT1 -aec PACS $there 2762
must_fail outside echoscu -aet KRKL_CT1 -aec PACS $there 11112
inside "journalctl -u pacs-server --no-pager -o cat | grep -o 'the certificate is bound to another AE title'"

step "receive"
as_ct1=(--tls --tls-ca authority.pem --tls-cert ct1.pem --tls-key ct1.key --ae-title KRKL_CT1)
outside storescu -nh -R +sd +r -aet KRKL_CT1 -aec PACS +tls ct1.key ct1.pem +cf authority.pem \
    $there 2762 "$testdata/series"
studies >series.studies
outside "$tool" store PACS@$there:2762 "${as_ct1[@]}" --journal journal "$testdata/ts" || [ $? = 4 ]

step "query"
studies >before.studies
echo "  $(wc -l <before.studies) studies"
[ -s before.studies ]
outside findscu -S -aet KRKL_WS1 -aec PACS +tls ws1.key ws1.pem +cf authority.pem \
    -k QueryRetrieveLevel=STUDY -k PatientID -k StudyInstanceUID $there 2762 2>&1 |
    grep -c "Find Response"
inside "curl -s http://127.0.0.1:8080/healthz; echo"

step "retrieve: C-GET, and C-MOVE to a workstation (DCMTK) over TLS"
get_all before
mkdir moved
storescp +B -aet KRKL_WS1 -od moved +tls ws1.key ws1.pem +cf authority.pem 11114 &
receiver=$!
# It listens a moment after it was started: port 11114 in state LISTEN.
for _ in $(seq 100); do
    grep -qE ':2B6A [0-9A-F:]+ 0A ' /proc/net/tcp /proc/net/tcp6 && break
    sleep 0.1
done
for uid in $(uids series.studies); do
    outside "$tool" move "${as_ws1[@]}" --to KRKL_WS1 -k StudyInstanceUID="$uid"
done
kill $receiver
wait $receiver 2>/dev/null || true
receiver=""
digests moved >moved.digests
echo "  $(wc -l <moved.digests) instances moved"
[ -s moved.digests ]
[ -z "$(comm -23 moved.digests before.digests)" ] # each as C-GET brought it

step "back up, twice"
inside "install -d -o pacs -g pacs -m 0750 /srv/backup"
inside "runuser -u pacs -- pacs backup --data /var/lib/pacs /srv/backup"
inside "pacs backup --data /var/lib/pacs /srv/backup --check"
inside "find /srv/backup ! -user pacs | wc -l" | tail -n 1 | grep -qx 0

step "back up every night"
for unit in pacs-backup.service pacs-backup.timer; do
    unit_of_manual $unit >"$machine/etc/systemd/system/$unit"
done
inside "install -d -o pacs -g pacs -m 0750 /mnt/backup/pacs"
inside "systemctl daemon-reload"
inside "systemctl start pacs-backup.service"
inside "systemctl enable --now pacs-backup.timer"
inside "systemctl list-timers pacs-backup.timer" | grep -q "01:30:00.*pacs-backup.service"
inside "pacs backup --data /var/lib/pacs /mnt/backup/pacs --check"
inside "find /mnt/backup/pacs ! -user pacs | wc -l" | tail -n 1 | grep -qx 0
inside "chown root:root /mnt/backup/pacs"
must_fail inside "systemctl start pacs-backup.service"
inside "systemctl is-failed pacs-backup.service"
inside "journalctl -u pacs-backup --no-pager -o cat | grep -i 'permission denied'"
inside "chown pacs:pacs /mnt/backup/pacs; systemctl start pacs-backup.service"
inside "systemctl disable --now pacs-backup.timer"

step "lose the archive, and restore it"
inside "systemctl stop pacs-server && rm -rf /var/lib/pacs"
inside "install -d -o pacs -g pacs -m 0750 /var/lib/pacs"
inside "pacs restore /srv/backup /var/lib/pacs"
inside "find /var/lib/pacs ! -user pacs | wc -l" | tail -n 1 | grep -qx 0
inside "runuser -u pacs -- pacs verify --data /var/lib/pacs"
inside "systemctl start pacs-server"
inside "pacs verify --data /var/lib/pacs"

step "query and retrieve again, and compare"
studies >after.studies
cmp before.studies after.studies
get_all after
cmp before.digests after.digests
# What our tool has sent, it has sent as it was.
digests "$testdata/ts" | sort -u >sent.digests
echo "  $(comm -12 sent.digests <(sort -u after.digests) | wc -l) of $(wc -l <sent.digests) data" \
    "sets of $(basename "$testdata")/ts are byte for byte as in their files"
[ "$(comm -12 sent.digests <(sort -u after.digests) | wc -l)" -gt 0 ]

step "a third AE, without a restart"
inside "printf '[[dicom.ae]]\ntitle = \"KRKL_MR1\"\naddress = \"$here:11115\"\nallow = [\"echo\"]\n' >> /etc/pacs/pacs.toml"
as_mr1=(-aet KRKL_MR1 -aec PACS +tls mr1.key mr1.pem +cf authority.pem $there 2762)
openssl req -newkey rsa:3072 -nodes -subj "/O=Hospital/CN=mr1" -keyout mr1.key -out mr1.csr 2>/dev/null
openssl x509 -req -in mr1.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 825 \
    -extfile ws1.ext -out mr1.pem 2>/dev/null
must_fail outside echoscu "${as_mr1[@]}"
inside "systemctl reload pacs-server"
for _ in $(seq 50); do outside echoscu "${as_mr1[@]}" && break || sleep 0.1; done
inside "journalctl -u pacs-server --no-pager -o cat | grep -o 'AE table and certificates were read again'"

step "kill -9: systemd starts it again"
inside "systemctl kill -s KILL pacs-server"
for _ in $(seq 100); do inside "systemctl is-active pacs-server" >/dev/null && break || sleep 0.1; done
studies >killed.studies
cmp before.studies killed.studies

step "another place for the archive"
inside "systemctl stop pacs-server; install -d -o pacs -g pacs -m 0750 /srv/pacs"
inside "pacs restore /srv/backup /srv/pacs"
inside "sed -i 's#/var/lib/pacs#/srv/pacs#' /etc/pacs/pacs.toml; systemctl reset-failed pacs-server"
must_fail inside "timeout 10 systemctl start pacs-server"
inside "journalctl -u pacs-server --no-pager -o cat | grep -o -m 1 'Read-only file system'"
inside "systemctl stop pacs-server; mkdir -p /etc/systemd/system/pacs-server.service.d"
inside "printf '[Service]\nReadWritePaths=/srv/pacs\n' > /etc/systemd/system/pacs-server.service.d/override.conf"
inside "systemctl daemon-reload; systemctl reset-failed pacs-server; systemctl start pacs-server"
studies >moved.studies
cmp before.studies moved.studies
inside "systemctl stop pacs-server; sed -i 's#/srv/pacs#/var/lib/pacs#' /etc/pacs/pacs.toml"
inside "rm -r /etc/systemd/system/pacs-server.service.d; systemctl daemon-reload"
inside "systemctl reset-failed pacs-server; systemctl start pacs-server"

step "install again, remove, and purge: the archive stays"
inside "apt-get install -q -y --reinstall ./pacs-server.deb" | grep -v "^(Reading"
inside "grep -c KRKL_MR1 /etc/pacs/pacs.toml && systemctl is-active pacs-server"
inside "apt-get remove -q -y pacs-server" | tail -n 1
must_fail inside "systemctl is-active pacs-server"
inside "apt-get install -q -y ./pacs-server.deb" | tail -n 1
studies >again.studies
cmp before.studies again.studies
inside "systemctl stop pacs-server; find /var/lib/pacs -type f -exec sha256sum {} + | sort > before"
inside "apt-get purge -q -y pacs-server" | tail -n 1
inside "find /var/lib/pacs -type f -exec sha256sum {} + | sort | cmp - before && wc -l < before"
inside "stat -c '%A %U:%G %n' /var/lib/pacs; ls -A /etc/pacs; ! test -e /usr/bin/pacs"

conclude passed
