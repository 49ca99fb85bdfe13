//! On booted systemd.
use tutela_beds::Booted;
#[test]
fn boots() {
    let b = Booted::boot();
    println!("{}", b.run("systemctl status --no-pager; cat /sys/fs/cgroup/cgroup.controllers; cat /proc/self/cgroup; hostname; ip a; systemd-analyze").ok());
    b.put("/etc/x/y", "hello\n");
    assert_eq!(b.run("cat /etc/x/y").ok(), "hello");
}
#[test]
fn boots2() { boots() }
