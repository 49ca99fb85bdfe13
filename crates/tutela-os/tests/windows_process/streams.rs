//! What programs write, on its way to the guard.

use crate::ward::{block_on, understudy, ward};
use tokio::io::AsyncReadExt;
use tutela_os::pipe::{idle_output_pipe, output_pipe};
use tutela_os::process::Stdio;

pub fn ten_megabytes_come_through_a_pipe() {
    const BYTES: usize = 10 << 20;
    let ward = ward();
    let (idle, write) = idle_output_pipe(None).unwrap();
    let mut request = understudy("flood", &["flood", &BYTES.to_string()]);
    request.stdout = Stdio::Handle(write);
    let child = ward.nursery.spawn(&request).unwrap();
    drop(request);
    let bytes = block_on(async {
        let mut read = idle.activate().unwrap();
        let mut bytes = Vec::new();
        read.read_to_end(&mut bytes).await.unwrap();
        bytes
    });
    ward.end_of(&child);
    assert_eq!(bytes.len(), BYTES);
    assert!(bytes.iter().zip((0..=250_u8).cycle()).all(|(byte, wanted)| *byte == wanted));
}

pub fn a_grandchild_that_holds_the_pipe_blocks_nobody() {
    let ward = ward();
    block_on(async {
        let (mut read, write) = output_pipe(None).unwrap();
        let mut request = understudy("hold", &["leave"]);
        request.stdout = Stdio::Handle(write);
        let child = ward.nursery.spawn(&request).unwrap();
        drop(request);
        ward.end_of(&child);
        let mut text = [0_u8; 64];
        let length = read.read(&mut text).await.unwrap();
        assert!(length > 0, "the grandchild says its number");
        let silent = tokio::time::timeout(std::time::Duration::from_millis(50), read.read(&mut text)).await;
        assert!(silent.is_err(), "it holds the pipe");
        child.tree().kill().unwrap();
        child.tree().emptied().await.unwrap();
        let mut rest = Vec::new();
        read.read_to_end(&mut rest).await.unwrap();
    });
}

pub fn a_pipe_ends_with_its_last_writer() {
    block_on(async {
        let (mut read, write) = output_pipe(Some(4_096)).unwrap();
        let mut request = understudy("never", &[]);
        request.stdout = Stdio::Handle(write.clone());
        drop((request, write));
        let mut rest = Vec::new();
        assert_eq!(read.read_to_end(&mut rest).await.unwrap(), 0);
    });
}
