//! On a machine.
use tutela_beds::Machine;
#[test]
fn boots() {
    let t = std::time::Instant::now();
    let mut b = Machine::boot();
    println!("up {:?}", t.elapsed());
    println!("{}", b.run("systemctl is-system-running; systemctl --failed; cat /sys/fs/cgroup/cgroup.controllers; systemd-analyze; systemd-analyze blame | head; free -m; df -h /").ok());
    let t = std::time::Instant::now();
    b.put_program(std::path::Path::new("/tmp/bedsx/target-rel/x86_64-unknown-linux-musl/static/tutela"), "/usr/local/bin/tutela");
    println!("put {:?}", t.elapsed());
    println!("{}", b.run("sha256sum /usr/local/bin/tutela; ls -la /usr/local/bin").ok());
    let t = std::time::Instant::now();
    b.reboot();
    println!("reboot {:?}", t.elapsed());
    let t = std::time::Instant::now();
    b.run("echo x >/root/unsynced; echo y >/root/synced; sync /root/synced").ok();
    b.cut_power(); b.power_on();
    println!("cut {:?}", t.elapsed());
    println!("{}", b.run("head /root/*").story());
}
