//! Starts what must end with the whole run: the kernel's notice of a parent's death is of the
//! thread that started the child, and a test's thread ends with its test.

use std::io;
use std::process::{Child, Command};
use std::sync::{LazyLock, Mutex, mpsc};
use std::thread;

type Order = (Command, mpsc::Sender<io::Result<Child>>);

static KEEPER: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    thread::spawn(move || {
        for (mut command, answer) in inbox {
            answer.send(command.spawn()).ok();
        }
    });
    Mutex::new(orders)
});

/// Starts `command` on a thread that lives as long as the run.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    let (answer, started) = mpsc::channel();
    KEEPER.lock().unwrap().send((command, answer)).unwrap();
    started.recv().unwrap()
}
