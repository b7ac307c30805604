//! Reads what `strace -f -y -v -o FILE` wrote: one [`Call`] for each system call, whole again where strace had to
//! split it (`<unfinished ...>`, `<... resumed>`), with its arguments as values.

/// One argument, as far as strace takes it apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `"bytes"`, escapes undone.
    Text(Vec<u8>),
    /// `{name=value, …}`; positional members have no name.
    Struct(Vec<(String, Value)>),
    /// `[value, …]`
    List(Vec<Value>),
    /// A descriptor with what it is open on: `3</path>`, `AT_FDCWD</dir>`.
    Fd { number: String, path: String },
    /// Everything else: numbers, flags, `NULL`, `makedev(0x1, 0x3)`.
    Word(String),
}

impl Value {
    /// The text of a string; of anything else nothing (`NULL` is a word).
    pub fn text(&self) -> Option<String> {
        match self {
            Value::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// The word, or the number of a descriptor.
    pub fn word(&self) -> &str {
        match self {
            Value::Word(word) => word,
            Value::Fd { number, .. } => number,
            _ => "",
        }
    }

    /// A member of a struct.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Struct(members) => members.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    pub fn list(&self) -> &[Value] {
        match self {
            Value::List(values) => values,
            _ => &[],
        }
    }

    /// The names of `A|B|C`; none for 0.
    pub fn flags(&self) -> Vec<&str> {
        self.word().split('|').filter(|f| *f != "0").collect()
    }
}

/// What the call gave back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The number (without strace's explanation).
    Value(i64),
    /// `EPERM`
    Errno(String),
    /// The process ended before the call came back, or became another program in a way that strace can't tell.
    Unknown,
}

/// One system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The thread that made it.
    pub tid: u32,
    pub name: String,
    pub args: Vec<Value>,
    pub answer: Answer,
    /// Where it began in the file (line number): the order of calls.
    pub line: usize,
}

/// A line that is neither a call nor one of the notes that strace writes (signals, exits).
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of strace's output: {what}: {text}")]
pub struct Unreadable {
    line: usize,
    what: &'static str,
    text: String,
}

/// All calls, in the order in which they began.
///
/// # Errors
/// A line that was not understood: a judge that skips what it can't read is none.
pub fn parse(output: &str) -> Result<Vec<Call>, Unreadable> {
    let mut calls = Vec::new();
    let mut unfinished: Vec<(u32, usize, String)> = Vec::new();
    for (index, raw) in output.lines().enumerate() {
        let line = index + 1;
        let fail = |what| Unreadable { line, what, text: raw.chars().take(300).collect() };
        let (tid, rest) = raw.split_once(char::is_whitespace).ok_or_else(|| fail("no process number"))?;
        let tid: u32 = tid.parse().map_err(|_| fail("no process number"))?;
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(start) = rest.strip_suffix("<unfinished ...>") {
            unfinished.push((tid, line, start.trim_end_matches(' ').to_owned()));
            continue;
        }
        let (begun, whole) = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let at =
                    unfinished.iter().position(|(t, ..)| *t == tid).ok_or_else(|| fail("resumed, but never begun"))?;
                let (_, begun, start) = unfinished.remove(at);
                let (_, end) = resumed.split_once(" resumed>").ok_or_else(|| fail("resumed without its name"))?;
                (begun, start + end)
            }
            None => (line, rest.to_owned()),
        };
        let (name, args, answer) = Reader::new(&whole).call().ok_or_else(|| fail("not a call"))?;
        calls.push(Call { tid, name, args, answer, line: begun });
    }
    // What was never resumed: the process was killed in it, or the last call of a traced process.
    for (tid, line, start) in unfinished {
        let text = format!("{start}) = ?");
        if let Some((name, args, _)) = Reader::new(&text).call() {
            calls.push(Call { tid, name, args, answer: Answer::Unknown, line });
        }
    }
    calls.sort_by_key(|c| c.line);
    Ok(calls)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Reader { bytes: text.as_bytes(), at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, wanted: &str) -> bool {
        let found = self.bytes[self.at..].starts_with(wanted.as_bytes());
        if found {
            self.at += wanted.len();
        }
        found
    }

    fn spaces(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    fn call(mut self) -> Option<(String, Vec<Value>, Answer)> {
        let open = self.bytes.iter().position(|b| *b == b'(')?;
        let name = std::str::from_utf8(&self.bytes[..open]).ok()?.to_owned();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return None;
        }
        self.at = open + 1;
        let args = self.values(b')')?;
        let args = args.into_iter().map(|(_, v)| v).collect();
        self.spaces();
        if !self.eat("=") {
            return None;
        }
        self.spaces();
        Some((name, args, self.answer()))
    }

    fn answer(&self) -> Answer {
        let rest = String::from_utf8_lossy(&self.bytes[self.at..]).into_owned();
        let word = rest.split(' ').next().unwrap_or("");
        if word == "-1" {
            return match rest.split(' ').nth(1) {
                Some(errno) => Answer::Errno(errno.to_owned()),
                None => Answer::Value(-1),
            };
        }
        let number = word.split('<').next().unwrap_or("");
        let value = match number.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16).ok(),
            None => number.parse().ok(),
        };
        value.map_or(Answer::Unknown, Answer::Value)
    }

    /// Values up to and with the closing bracket.
    fn values(&mut self, close: u8) -> Option<Vec<(String, Value)>> {
        let mut values = Vec::new();
        loop {
            self.spaces();
            self.comment();
            if self.peek()? == close {
                self.at += 1;
                return Some(values);
            }
            if self.eat("...") {
                // A struct or list of which strace shows only the beginning.
                continue;
            }
            let name = self.member_name();
            let value = self.value()?;
            values.push((name, value));
            self.spaces();
            self.comment();
            self.spaces();
            match self.peek()? {
                b',' => self.at += 1,
                b if b == close => {}
                _ => return None,
            }
        }
    }

    /// `name=` before a member of a struct or, rarely, an argument (`child_stack=NULL`).
    fn member_name(&mut self) -> String {
        let start = self.at;
        let mut end = start;
        while self.bytes.get(end).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_') {
            end += 1;
        }
        if end > start && self.bytes.get(end) == Some(&b'=') && self.bytes.get(end + 1) != Some(&b'>') {
            self.at = end + 1;
            return String::from_utf8_lossy(&self.bytes[start..end]).into_owned();
        }
        String::new()
    }

    fn comment(&mut self) {
        while self.eat("/*") {
            while self.at < self.bytes.len() && !self.eat("*/") {
                self.at += 1;
            }
            self.spaces();
        }
    }

    /// A value, and what it became where the call changed it (`=> value`).
    fn value(&mut self) -> Option<Value> {
        let mut value = self.one()?;
        self.spaces();
        self.comment();
        if self.eat("=>") {
            self.spaces();
            let after = self.one()?;
            if let (Value::Struct(before), Value::Struct(after)) = (&mut value, after) {
                before.extend(after.into_iter().map(|(n, v)| (format!("=>{n}"), v)));
            }
        }
        Some(value)
    }

    fn one(&mut self) -> Option<Value> {
        match self.peek()? {
            b'"' => self.text().map(Value::Text),
            b'{' => {
                self.at += 1;
                self.values(b'}').map(Value::Struct)
            }
            b'[' => {
                self.at += 1;
                let values = self.values(b']')?;
                Some(Value::List(values.into_iter().map(|(_, v)| v).collect()))
            }
            _ => self.word(),
        }
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => out.push(self.escape()?),
                byte => out.push(byte),
            }
        }
        // Longer than -s: the comparison would be of two different things.
        if self.eat("...") {
            out.extend(b"[cut off by strace]");
        }
        Some(out)
    }

    fn escape(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(match byte {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'v' => 0x0b,
            b'f' => 0x0c,
            b'x' => {
                let hex = std::str::from_utf8(self.bytes.get(self.at..self.at + 2)?).ok()?;
                self.at += 2;
                u8::from_str_radix(hex, 16).ok()?
            }
            b'0'..=b'7' => {
                let mut value = u32::from(byte - b'0');
                for _ in 0..2 {
                    match self.peek() {
                        Some(digit @ b'0'..=b'7') => {
                            value = value * 8 + u32::from(digit - b'0');
                            self.at += 1;
                        }
                        _ => break,
                    }
                }
                u8::try_from(value).ok()?
            }
            other => other,
        })
    }

    /// Up to the next separator outside of brackets. `3</path>` is a descriptor.
    fn word(&mut self) -> Option<Value> {
        let start = self.at;
        let mut depth = 0;
        while let Some(byte) = self.peek() {
            match byte {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'"' if depth > 0 => {
                    self.text()?;
                    continue;
                }
                b'<' if self.at > start
                    && self.bytes.get(self.at + 1) != Some(&b'<')
                    && self.bytes[self.at - 1] != b'<' =>
                {
                    let number = String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned();
                    return self.descriptor(number);
                }
                b',' | b')' | b'}' | b']' | b' ' if depth == 0 => break,
                _ => {}
            }
            self.at += 1;
        }
        if self.at == start {
            return None;
        }
        let word = String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned();
        Some(Value::Word(word))
    }

    /// From `<` to the `>` that ends it. In a path strace escapes these two; sockets have them in square brackets
    /// (`<UNIX:[1->2]>`), which a path may hold unpaired.
    fn descriptor(&mut self, number: String) -> Option<Value> {
        self.at += 1;
        let is_path = self.peek() == Some(b'/');
        let mut path = Vec::new();
        let mut square = 0;
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'>' if is_path || square <= 0 => break,
                b'\\' => {
                    path.push(self.escape()?);
                    continue;
                }
                b'[' => square += 1,
                b']' => square -= 1,
                _ => {}
            }
            path.push(byte);
        }
        self.eat("(deleted)");
        let path = String::from_utf8_lossy(&path).into_owned();
        Some(Value::Fd { number, path })
    }
}

#[cfg(test)]
mod tests {
    //! Lines recorded with strace 6.1 of `unshare -m …` and a script that makes the rarer calls.
    use super::*;

    fn one(line: &str) -> Call {
        let mut calls = parse(line).unwrap();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls.remove(0)
    }

    fn text(s: &str) -> Value {
        Value::Text(s.as_bytes().to_vec())
    }

    fn word(s: &str) -> Value {
        Value::Word(s.to_owned())
    }

    #[test]
    fn a_call_has_its_name_arguments_and_answer() {
        let call = one(r#"15341 mount("none", "/srv/x", "tmpfs", MS_NOSUID|MS_NODEV, "size=4k") = 0"#);
        assert_eq!((call.tid, call.name.as_str()), (15341, "mount"));
        assert_eq!(call.args[0], text("none"));
        assert_eq!(call.args[3].flags(), ["MS_NOSUID", "MS_NODEV"]);
        assert_eq!(call.args[4].text().as_deref(), Some("size=4k"));
        assert_eq!(call.answer, Answer::Value(0));
    }

    #[test]
    fn a_failure_is_its_errno() {
        let call = one(r#"15416 pivot_root(".", ".")              = -1 EBUSY (Device or resource busy)"#);
        assert_eq!(call.answer, Answer::Errno("EBUSY".into()));
    }

    #[test]
    fn null_and_no_flags_are_told_apart_from_text() {
        let call = one(r#"1 mount(NULL, "/", NULL, 0, NULL) = 0"#);
        assert_eq!(call.args[0].text(), None);
        assert!(call.args[3].flags().is_empty());
    }

    #[test]
    fn a_split_call_is_put_together_at_the_place_where_it_began() {
        let calls = parse(
            "7 vfork( <unfinished ...>\n\
             8 execve(\"/bin/x\", [\"x\", \"a b\"], [] <unfinished ...>\n\
             7 <... vfork resumed>)              = 8\n\
             8 <... execve resumed>)             = 0\n\
             8 +++ exited with 0 +++\n\
             7 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=8} ---\n",
        )
        .unwrap();
        let names: Vec<_> = calls.iter().map(|c| (c.tid, c.name.as_str(), c.line)).collect();
        assert_eq!(names, [(7, "vfork", 1), (8, "execve", 2)]);
        assert_eq!(calls[0].answer, Answer::Value(8));
        assert_eq!(calls[1].args[1].list(), [text("x"), text("a b")]);
    }

    #[test]
    fn a_call_that_never_came_back_is_not_lost() {
        let calls = parse("7 execve(\"/bin/x\", [\"x\"], [] <unfinished ...>\n7 +++ killed by SIGKILL +++\n").unwrap();
        assert_eq!(calls[0].answer, Answer::Unknown);
        assert_eq!(calls[0].args[0], text("/bin/x"));
    }

    #[test]
    fn clone3_shows_what_went_in_and_what_came_out() {
        let call = one(
            "15375 clone3({flags=CLONE_PIDFD|CLONE_NEWNS|CLONE_NEWPID, pidfd=0x7fe57677a020, exit_signal=SIGCHLD, \
             stack=NULL, stack_size=0} => {pidfd=[3<anon_inode:[pidfd]>]}, 88) = 15416",
        );
        let args = &call.args[0];
        assert_eq!(args.get("flags").unwrap().flags(), ["CLONE_PIDFD", "CLONE_NEWNS", "CLONE_NEWPID"]);
        assert_eq!(args.get("exit_signal"), Some(&word("SIGCHLD")));
        let pidfd = Value::Fd { number: "3".into(), path: "anon_inode:[pidfd]".into() };
        assert_eq!(args.get("=>pidfd"), Some(&Value::List(vec![pidfd])));
        assert_eq!(call.answer, Answer::Value(15416));
    }

    #[test]
    fn a_split_clone3_too() {
        let calls = parse(
            "5 clone3({flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD, stack=0x7f, stack_size=0x9000} <unfinished ...>\n\
             5 <... clone3 resumed>, 88)         = 6\n",
        )
        .unwrap();
        assert_eq!(calls[0].args[0].get("flags").unwrap().flags(), ["CLONE_VM", "CLONE_VFORK"]);
        assert_eq!(calls[0].args[1], word("88"));
    }

    #[test]
    fn old_clone_names_its_arguments() {
        let call = one(
            "15337 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7fd38ddbaa10) = 15338",
        );
        assert_eq!(call.args[1].flags(), ["CLONE_CHILD_CLEARTID", "CLONE_CHILD_SETTID", "SIGCHLD"]);
    }

    #[test]
    fn descriptors_carry_what_they_are_open_on() {
        let call = one(r#"9 mknodat(AT_FDCWD</srv/a b>, "/dev/null", S_IFCHR|0666, makedev(0x1, 0x3)) = 0"#);
        assert_eq!(call.args[0], Value::Fd { number: "AT_FDCWD".into(), path: "/srv/a b".into() });
        assert_eq!(call.args[3], word("makedev(0x1, 0x3)"));
        let tree =
            one(r#"9 open_tree(AT_FDCWD</w>, "/etc", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_RECURSIVE) = 4</etc>"#);
        assert_eq!(tree.answer, Answer::Value(4));
        let socket = one("9 sendto(5<UNIX:[12->34]>, \"x\", 1, MSG_NOSIGNAL, NULL, 0) = 1");
        assert_eq!(socket.args[0].word(), "5");
        let bracket = one(r#"9 write(3</usr/bin/[>, "x", 1) = 1"#);
        assert_eq!(bracket.args[1], text("x"));
        let odd = one(r#"9 write(3</tmp/a\76b>, "x", 1) = 1"#);
        assert_eq!(odd.args[0], Value::Fd { number: "3".into(), path: "/tmp/a>b".into() });
    }

    #[test]
    fn escapes_are_undone_byte_by_byte() {
        let call = one(r#"9 write(1</proc/9/comm>, "a\tb\"c\\\1\0012\303\251\0\xff", 12) = 12"#);
        assert_eq!(call.args[1], Value::Text(b"a\tb\"c\\\x01\x012\xc3\xa9\x00\xff".to_vec()));
    }

    #[test]
    fn netlink_messages_are_lists_of_structs_whatever_strace_knows_of_the_socket() {
        let call = one(
            r#"15416 sendto(3<socket:[24630]>, [{nlmsg_len=32, nlmsg_type=0x10 /* NLMSG_??? */, nlmsg_flags=NLM_F_REQUEST|NLM_F_ACK, nlmsg_seq=1, nlmsg_pid=0}, "\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00"], 32, 0, NULL, 0) = 32"#,
        );
        let message = call.args[1].list();
        assert_eq!(message[0].get("nlmsg_type"), Some(&word("0x10")));
        assert_eq!(message[1], Value::Text(vec![0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]));
        let ack = one(
            "9 recvfrom(3<socket:[24630]>, [{nlmsg_len=36, nlmsg_type=NLMSG_ERROR, nlmsg_flags=NLM_F_CAPPED, nlmsg_seq=1, nlmsg_pid=1}, \
             {error=-1, msg={nlmsg_len=32, nlmsg_type=0x10 /* NLMSG_??? */, nlmsg_flags=NLM_F_REQUEST|NLM_F_ACK, nlmsg_seq=1, nlmsg_pid=0}}], 1024, 0, NULL, NULL) = 36",
        );
        assert_eq!(ack.args[1].list()[1].get("error"), Some(&word("-1")));
    }

    #[test]
    fn capability_sets_are_shifts_not_descriptors() {
        let call = one(
            "9 capset({version=_LINUX_CAPABILITY_VERSION_3, pid=0}, {effective=1<<CAP_CHOWN|1<<CAP_SETFCAP, permitted=0, inheritable=0}) = 0",
        );
        assert_eq!(call.args[1].get("effective"), Some(&word("1<<CAP_CHOWN|1<<CAP_SETFCAP")));
    }

    #[test]
    fn a_filter_is_a_list_of_instructions() {
        let call = one(
            "9 seccomp(SECCOMP_SET_MODE_FILTER, 0, {len=2, filter=[BPF_STMT(BPF_LD|BPF_W|BPF_ABS, 0x4), BPF_JUMP(BPF_JMP|BPF_K|BPF_JEQ, 0x1, 0, 0x2)]}) = 0",
        );
        assert_eq!(call.args[2].get("filter").unwrap().list().len(), 2);
        let cut = one("9 seccomp(SECCOMP_SET_MODE_FILTER, 0, {len=2, filter=0x7ffc}) = 0");
        assert_eq!(cut.args[2].get("len"), Some(&word("2")));
    }

    #[test]
    fn what_strace_explains_after_the_answer_is_not_part_of_it() {
        assert_eq!(one("9 prctl(PR_GET_DUMPABLE)            = 1 (SUID_DUMP_USER)").answer, Answer::Value(1));
        assert_eq!(one("9 exit_group(0) = ?").answer, Answer::Unknown);
    }

    #[test]
    fn text_that_strace_cut_off_can_not_pass_for_the_whole() {
        let call = one(r#"9 write(1</proc/9/comm>, "abc"..., 12) = 12"#);
        assert_eq!(call.args[1].text().as_deref(), Some("abc[cut off by strace]"));
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error() {
        assert!(parse("9 mount(\"a\" = 0").is_err());
        assert!(parse("mount() = 0").is_err());
        assert!(parse("9 <... mount resumed>) = 0").is_err());
    }
}
