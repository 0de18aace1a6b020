//! What listens on the target, and who connects to it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Listens on 127.0.0.1, as long as the tests run, and counts who came.
pub(super) fn serve(port: u16, service: fn(TcpStream) -> std::io::Result<()>) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let came = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&came);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            thread::spawn(move || service(stream).ok());
        }
    });
    came
}

pub(super) fn nobody_came(came: &AtomicUsize) {
    assert_eq!(came.load(Ordering::Relaxed), 0, "nothing was connected to");
}

pub(super) fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    std::io::copy(&mut stream.try_clone()?, &mut stream)?;
    stream.shutdown(Shutdown::Write)
}

pub(super) fn greet(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(b"hello\n")
}

/// Answers when it has everything.
pub(super) fn sum(mut stream: TcpStream) -> std::io::Result<()> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    stream.write_all(format!("{} bytes\n", all.len()).as_bytes())
}

pub(super) fn pour(mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        stream.write_all(&[42; 65_536])?;
    }
}

pub(super) fn http(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.extend(byte);
    }
    stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\nthrough\n")
}

pub(super) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).unwrap();
    stream.set_write_timeout(patience).unwrap();
    stream
}

/// All that comes until the end; a reset is an end too.
pub(super) fn all_of(mut stream: TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    if let Err(error) = stream.read_to_end(&mut got) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    got
}
