//! `std::thread` for each message, and nobody joins.
//! EXPECT function handle_message

use std::{env, io, thread, time::Duration};

struct Message {
    number: usize,
}

#[inline(never)]
fn handle_message(message: Message) {
    thread::spawn(move || {
        let message = message;
        loop {
            thread::park();
            std::hint::black_box(message.number);
        }
    });
}

#[inline(never)]
fn receive(messages: usize) {
    for number in 1..messages {
        handle_message(Message { number });
        thread::sleep(Duration::from_millis(2));
    }
}

fn main() {
    let messages = env::args().nth(1).and_then(|it| it.parse().ok()).unwrap_or(100);
    receive(messages);
    println!("full");
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
}
