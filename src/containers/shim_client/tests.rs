use super::*;
use crate::shim::protocol::Attach;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::io::Write as _;
use std::os::fd::OwnedFd;

fn pair() -> (Client, Connection) {
    let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    (Client::new(a).unwrap(), Connection::new(b))
}

fn record(code: i32) -> ExitRecord {
    ExitRecord { code, signal: None, oom_killed: false, at: "2026-11-23T20:09:44Z".into() }
}

/// A shim that answers each request with what `answer` says, in a thread of its own.
fn shim(
    connection: Connection,
    mut answer: impl FnMut(Request, Vec<OwnedFd>) -> Vec<Reply> + Send + 'static,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        while let Ok(Some((request, fds))) = connection.receive::<Request>() {
            for reply in answer(request, fds) {
                connection.send(&reply, &[]).unwrap();
            }
        }
    })
}

#[tokio::test]
async fn replies_go_to_their_requests_in_order() {
    let (client, connection) = pair();
    let shim = shim(connection, |request, _| match request {
        Request::Kill { signal, .. } => vec![Reply::Refused { message: format!("no {signal}") }],
        _ => vec![Reply::Done],
    });
    let asks = (0..20).map(|n| {
        let request =
            if n % 2 == 0 { Request::Kill { signal: n, trace: None } } else { Request::Resize { width: 1, height: 1 } };
        let client = &client;
        async move { (n, client.ask(&request, vec![]).await) }
    });
    for (n, answer) in futures_util::future::join_all(asks).await {
        let wanted = if n % 2 == 0 { Err(ShimError::Refused(format!("no {n}"))) } else { Ok(()) };
        assert_eq!(answer, wanted);
    }
    drop(client);
    shim.join().unwrap();
}

#[tokio::test]
async fn descriptors_arrive_and_are_closed_here() {
    let (client, connection) = pair();
    let shim = shim(connection, |request, fds| {
        assert_eq!(request, Request::Attach(Attach { stdout: true, ..Attach::default() }));
        std::fs::File::from(fds.into_iter().next().unwrap()).write_all(b"hello").unwrap();
        vec![Reply::Done]
    });
    let (mine, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let wants = Attach { stdout: true, ..Attach::default() };
    client.ask(&Request::Attach(wants), vec![theirs.into()]).await.unwrap();
    // The end of the stream comes only if no copy of the other end is open here.
    assert_eq!(std::io::read_to_string(mine).unwrap(), "hello");
    drop(client);
    shim.join().unwrap();
}

#[tokio::test]
async fn the_end_is_told_besides_and_later_requests_fail() {
    let (client, connection) = pair();
    connection.send(&Reply::Exited(record(7)), &[]).unwrap();
    assert_eq!(client.ended().await, Ended::Exited(record(7)));
    let shim = shim(connection, |_, _| vec![Reply::Refused { message: "the container has ended".into() }]);
    let refused = client.ask(&Request::Kill { signal: 9, trace: None }, vec![]).await;
    assert_eq!(refused, Err(ShimError::Refused("the container has ended".into())));
    drop(client);
    shim.join().unwrap();
}

#[tokio::test]
async fn a_question_for_the_state_may_be_answered_by_the_end() {
    let (client, connection) = pair();
    let shim = shim(connection, |request, _| match request {
        Request::State => vec![Reply::Exited(record(3)), Reply::Exited(record(3))],
        _ => vec![Reply::Done],
    });
    assert_eq!(client.request(&Request::State, vec![]).await, Ok(Reply::Exited(record(3))));
    assert_eq!(client.ask(&Request::Kill { signal: 9, trace: None }, vec![]).await, Ok(()));
    assert_eq!(client.ended().await, Ended::Exited(record(3)));
    drop(client);
    shim.join().unwrap();
}

#[tokio::test]
async fn a_broken_connection_ends_everybodys_wait() {
    let (client, connection) = pair();
    let request = client.request(&Request::State, vec![]);
    let (answer, ()) = tokio::join!(request, async {
        tokio::task::yield_now().await;
        drop(connection);
    });
    assert_eq!(answer, Err(ShimError::Gone));
    assert_eq!(client.ended().await, Ended::Broken);
    assert_eq!(client.ask(&Request::State, vec![]).await, Err(ShimError::Gone));
}

#[tokio::test]
async fn no_request_hangs_after_the_end_and_the_hang_up() {
    let (client, connection) = pair();
    connection.send(&Reply::Exited(record(0)), &[]).unwrap();
    drop(connection);
    assert_eq!(client.ended().await, Ended::Exited(record(0)));
    assert_eq!(client.ask(&Request::Kill { signal: 15, trace: None }, vec![]).await, Err(ShimError::Gone));
}

#[test]
fn a_run_directory_without_a_shim_says_so() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(reconnect(dir.path()).unwrap_err().kind(), io::ErrorKind::NotFound);
}
