//! The options of `create`: what the client asks of the daemon is, byte for byte, what the Docker command asks, and what
//! it refuses it refuses in the same words.

use super::support::lab::{RDOCK, run};
use super::support::need::Need;
use super::support::{Answer, Lab, need};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc;

/// A daemon that says yes to everything and tells what it was asked to create.
struct Listener {
    socket: PathBuf,
    asked: mpsc::Receiver<String>,
}

impl Listener {
    fn new(lab: &Lab) -> Listener {
        let socket = lab.file("d.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (tell, asked) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let tell = tell.clone();
                std::thread::spawn(move || answer(stream, &tell));
            }
        });
        Listener { socket, asked }
    }

    /// What a client asks to be created, or what it says instead.
    fn hears(&self, lab: &Lab, client: &str, words: &[String]) -> Result<String, Answer> {
        let mut command = lab.program(client);
        command.args(["-H", &format!("unix://{}", self.socket.display()), "create"]).args(words);
        let said = run(command, b"");
        match self.asked.try_recv() {
            Ok(request) => Ok(request),
            Err(_) => Err(said),
        }
    }
}

fn answer(stream: UnixStream, tell: &mpsc::Sender<String>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                break;
            }
            if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = n.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let path = first.split(' ').nth(1).unwrap_or_default();
        let (status, text) = if path.contains("/containers/create") {
            let path = path.split_once("/containers").unwrap().1;
            tell.send(format!("{path}\n{}", String::from_utf8(body).unwrap().trim_end())).unwrap();
            ("201 Created", format!(r#"{{"Id":"{}","Warnings":[]}}"#, "f6306cb0eaaa".repeat(6)))
        } else {
            ("200 OK", r#"{"OSType":"linux"}"#.to_owned())
        };
        let shown = if first.starts_with("HEAD") { "" } else { &text };
        let head = "Api-Version: 1.50\r\nOstype: linux\r\nContent-Type: application/json\r\n";
        write!(writer, "HTTP/1.1 {status}\r\n{head}Content-Length: {}\r\n\r\n{shown}", text.len()).unwrap();
    }
}

/// Command lines without the image, which is `x`.
const LINES: &str = r#"
-e C --env-file env -w /x -u 5:6 --hostname box --domainname dom --name one
--entrypoint "" --rm
--entrypoint sh -i -t
-l a=b -l c --label-file labels
--label-file nosuch
--label-file spaces
--label-file nameless
--env-file nameless
--env-file nosuch
-l =x
-e =x
-a stdin -a stdout
-a foo
--restart always
--restart on-failure:3
--restart unless-stopped
--restart on-failure:x
--restart on-failure:1:2
--restart :
--rm --restart always
--stop-signal SIGINT --stop-timeout 5
--stop-timeout x
--init --read-only --tmpfs /x --tmpfs /y:size=1m,ro
-v /a:/b
-v /a:/b:ro,z
-v vol:/b
-v /b -v /c
-v a:b
-v ./a:/b
-v :
-v a::/b
-v /a:/b:ro:z
-v ""
--mount type=bind,src=/a,dst=/b,ro
--mount type=bind,source=./a,target=/b,bind-propagation=rslave
--mount type=bind,src=/a,dst=/b,bind-propagation=rprivate,bind-recursive=readonly,readonly
--mount type=bind,src=/a,dst=/b,bind-recursive=readonly
--mount type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=700
--mount type=volume,src=v,dst=/b,volume-nocopy
--mount type=volume,src=v,dst=/b,volume-driver=local,volume-opt=a=b,volume-label=c=d
--mount '"type=bind","src=/a,b",dst=/c'
--mount foo
--mount type=bind,foo=1
--mount type=bind
--mount type=bind,src=/a,dst=/b,volume-nocopy
--mount src=/a,dst=/b,tmpfs-mode=9
--mount ""
--cap-add ALL --cap-drop kill
--cap-add sys_admin --cap-add CAP_KILL --cap-drop net_raw --cap-drop kill
--cap-drop all --cap-add chown
--privileged --userns host --uts host --cgroupns private
--security-opt no-new-privileges --security-opt apparmor=x --security-opt label=disable
--security-opt no-new-privileges:true --security-opt label:disable
--security-opt seccomp=unconfined
--security-opt seccomp=builtin --security-opt systempaths=unconfined
--security-opt systempaths=unconfined
--security-opt seccomp=profile.json
--security-opt seccomp=nosuch
--security-opt bogus
--security-opt seccomp=
--pid host --ipc host
--pid container:a --ipc container:a
--pid container:
--pid foo
--ipc shareable
--uts foo
--userns foo
--cgroupns foo
--ulimit nofile=1:2 --ulimit core=-1 --ulimit nofile=5
--ulimit foo=1
--ulimit nofile
--ulimit nofile=3:2
--ulimit nofile=-1:2
--ulimit nofile=x
--ulimit nofile=1:2:3
--sysctl net.ipv4.ip_forward=1 --sysctl kernel.msgmax=5 --sysctl fs.mqueue.msg_max=5
--sysctl kernel.b=2
--sysctl net.a
--device /dev/fuse --device /dev/a:/dev/b:r --device /dev/a:rw --device-cgroup-rule 'c 1:3 rwm'
--device vendor.com/class=x
--device a:b:c:d
--device /dev/a:/dev/b:x
--device foo
--device-cgroup-rule 'x 1:3 rwm'
--gpus all
--group-add video --group-add 5
--shm-size 64m -m 6.5g --memory-reservation 1kib --memory-swap -1 --memory-swappiness 50 --kernel-memory 5m
--shm-size x
-m -1
-m 5x
--memory ""
--memory-swap x
--memory-swappiness 101
--oom-kill-disable --oom-score-adj 500 --pids-limit -1
--oom-score-adj x
--pids-limit 99999999999999999999
--cpus 1.5
--cpus 0.000000001
--cpus x
--cpus 1.0000000001
-c 5 --cpu-period 1000 --cpu-quota 2000 --cpuset-cpus 0-1 --cpuset-mems 0 --cpu-rt-period 5 --cpu-rt-runtime 4
--blkio-weight 500 --blkio-weight-device /dev/sda:100 --device-read-bps /dev/sda:1mb --device-write-bps /dev/sda:1gb
--device-read-iops /dev/sda:1000 --device-write-iops /dev/sda:5
--blkio-weight 70000
--blkio-weight-device /dev/sda
--blkio-weight-device sda:100
--blkio-weight-device /dev/sda:1
--device-read-bps /dev/sda:x
--device-write-iops /dev/sda:x
--device-read-bps sda:1
--cidfile cid
--pull bogus
--pull never --platform linux/arm64
--platform x/y/z/w
--health-cmd 'a && b <c>' --health-interval 5s --health-timeout 1m30s --health-retries 3
--health-start-period 1.5h --health-start-interval 100ms
--no-healthcheck
--no-healthcheck --health-cmd x
--health-interval -1s
--health-retries -1
--health-interval x
--health-interval 5
--log-driver json-file --log-opt max-size=10m --log-opt max-file=3
--log-driver none --log-opt a=b
--annotation a=b --annotation c
--runtime runc --isolation default --storage-opt size=5g --volumes-from c:ro --volume-driver local --cgroup-parent /x
--dns 8.8.8.8 --dns-search a.b --dns-option ndots:1 --dns-opt use-vc
--dns x
--dns-search -x-
--add-host a:1.2.3.4 --add-host b=::1 --add-host c:[::1] --add-host d:host-gateway
--add-host d
--add-host d:x
-p 80
-p 127.0.0.1:8080:80/udp -p 9000:80/udp --expose 70 --expose 100-102/tcp
-p 80-82:90-92 -P
-p 8000-8010:80
-p [::1]:80:90
-p x
-p x:80
-p 80-81:90-93
-p 80/foo
-p 1.2.3:80:80
--expose x
--network host
--network none
--net container:abc
--network blue
--network blue --network-alias a --link a:b --ip 1.2.3.4
--network name=blue,alias=b
--network blue --network green
--network blue --network host
--network ""
--ip 1.2.3.4 --ip6 ::2 --link-local-ip 169.254.1.1 --mac-address 92:d0:c6:0a:29:33
--mac-address x
--network-alias a
--link a:b
--link a:b:c
--name one --name two
"#;

#[test]
fn the_request_is_byte_for_byte_dockers() {
    if !need(&[Need::DockerCli]) {
        return;
    }
    let lab = Lab::new();
    let files = [
        ("env", "# c\nA=1 2\nNOT_SET_ANYWHERE\n"),
        ("labels", "k=v\n# c\nalone\n"),
        ("spaces", "a b=v\n"),
        ("nameless", "=v\n"),
        ("profile.json", "{ \"defaultAction\": \"SCMP_ACT_ALLOW\",\n  \"x\": \"a \\\" <b\" }\n"),
    ];
    for (name, text) in files {
        std::fs::write(lab.file(name), text).unwrap();
    }
    let listener = Listener::new(&lab);
    let mut wrong = vec![];
    let mut lines = 0;
    for line in LINES.trim().lines() {
        let mut words = shlex::split(line).unwrap();
        words.extend(["x".to_owned(), "sh".to_owned(), "-c".to_owned(), "a && b".to_owned()]);
        let theirs = listener.hears(&lab, "docker", &words);
        let _ = std::fs::remove_file(lab.file("cid"));
        let ours = listener.hears(&lab, RDOCK, &words);
        let alike = match (&theirs, &ours) {
            (Ok(theirs), Ok(ours)) => theirs == ours,
            (Err(theirs), Err(ours)) => {
                let words = |said: &Answer| said.stderr.split("\nhint:").next().unwrap().trim_end().to_owned();
                (theirs.status, words(theirs).replace("docker", "rdock")) == (ours.status, words(ours))
            }
            _ => false,
        };
        if !alike {
            wrong.push(format!("{line}\n  docker: {theirs:?}\n  rdock:  {ours:?}"));
        }
        lines += 1;
    }
    assert!(lines > 150 && wrong.is_empty(), "{} of {lines}:\n{}", wrong.len(), wrong.join("\n"));
}
