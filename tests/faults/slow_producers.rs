//! T-F-10: heads that drip, bodies byte by byte, idle connections by the thousand.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use harness::http::Wire;
use harness::{Background, Scene, Subscriber, Trigger, pick};
use tokio::time::sleep;

use crate::{MIB, SOON, steady};

/// How many connections the program takes from one address.
const PER_ADDRESS: usize = 250;

/// Other clients on this machine.
fn client(number: usize) -> IpAddr {
    let number = u8::try_from(2 + number / PER_ADDRESS).expect("few clients");
    IpAddr::V4(Ipv4Addr::new(127, 0, 7, number))
}

async fn drip(from: IpAddr, to: SocketAddr, first: String, again: &'static str) {
    let Ok(mut wire) = Wire::connect_from(from, to).await else { return };
    if wire.write(first.as_bytes()).await.is_err() {
        return;
    }
    while wire.write(again.as_bytes()).await.is_ok() {
        sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_producers_do_not_slow_the_others() {
    let subscriber = Subscriber::start().await;
    let running = Scene::new().trigger(Trigger::named("all"), &subscriber).start().await;
    let observer = running.observe();
    let to = running.program.events();
    let mut slow = Vec::new();
    let head = "POST /default/default HTTP/1.1\r\nhost: x\r\n";
    for number in 0..200 {
        let body = "ce-specversion: 1.0\r\nce-id: slow\r\nce-source: /slow\r\nce-type: t\r\ncontent-length: 90000\r\n\r\n";
        let (first, again) = match number % 2 {
            0 => (head.to_owned(), "x-a: b\r\n"),
            _ => (format!("{head}{body}"), "x"),
        };
        slow.push(Background::start(drip(client(number), to, first, again)));
    }
    // Both ends of each are here: the limit of descriptors of this process is the bound.
    let mut idle = Vec::new();
    for number in 0..pick(600, 9_000) {
        match Wire::connect_from(client(PER_ADDRESS + number), to).await {
            Ok(wire) => idle.push(wire),
            Err(error) => {
                println!("{} idle connections, then {error}", idle.len());
                break;
            }
        }
    }
    assert!(idle.len() > 200, "{} idle connections", idle.len());
    running.load(steady("quick", pick(600, 30_000), 200)).finish().await;
    running.settled(SOON).await;
    let evidence = running.evidence().await;
    assert_eq!(running.oracle.ledger.refused(), 0, "the others were refused");
    let mut verdicts = evidence.verdicts();
    verdicts.push(observer.conserved());
    verdicts.push(observer.bounded(256 * MIB, 11_000));
    harness::oracle::assert_all(verdicts);
}
