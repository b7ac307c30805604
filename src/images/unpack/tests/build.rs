//! Builds tar streams, also such as no tool would write.

/// A tar stream in the making. The methods of an entry change the last one.
#[derive(Default)]
pub struct Tar {
    entries: Vec<Entry>,
}

struct Entry {
    header: tar::Header,
    path: Vec<u8>,
    link: Vec<u8>,
    content: Vec<u8>,
    pax: Vec<(String, Vec<u8>)>,
}

impl Tar {
    pub fn new() -> Tar {
        Tar::default()
    }

    fn add(&mut self, kind: u8, path: &str, link: &str, content: &[u8]) -> &mut Tar {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(0o644);
        header.set_uid(nix::unistd::geteuid().as_raw().into());
        header.set_gid(nix::unistd::getegid().as_raw().into());
        header.set_mtime(1);
        header.set_size(content.len() as u64);
        self.entries.push(Entry {
            header,
            path: path.into(),
            link: link.into(),
            content: content.into(),
            pax: Vec::new(),
        });
        self
    }

    pub fn file(&mut self, path: &str, content: &[u8]) -> &mut Tar {
        self.add(b'0', path, "", content)
    }

    pub fn dir(&mut self, path: &str, mode: u32) -> &mut Tar {
        self.add(b'5', path, "", b"").mode(mode)
    }

    pub fn symlink(&mut self, path: &str, target: &str) -> &mut Tar {
        self.add(b'2', path, target, b"").mode(0o777)
    }

    pub fn hard_link(&mut self, path: &str, target: &str) -> &mut Tar {
        self.add(b'1', path, target, b"")
    }

    pub fn node(&mut self, kind: u8, path: &str, (major, minor): (u32, u32)) -> &mut Tar {
        self.add(kind, path, "", b"");
        let header = &mut self.last().header;
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        self
    }

    fn last(&mut self) -> &mut Entry {
        self.entries.last_mut().unwrap()
    }

    pub fn mode(&mut self, mode: u32) -> &mut Tar {
        self.last().header.set_mode(mode);
        self
    }

    pub fn mtime(&mut self, seconds: u64) -> &mut Tar {
        self.last().header.set_mtime(seconds);
        self
    }

    pub fn owner(&mut self, uid: u64, gid: u64) -> &mut Tar {
        self.last().header.set_uid(uid);
        self.last().header.set_gid(gid);
        self
    }

    /// A record of its extended header.
    pub fn pax(&mut self, key: &str, value: &str) -> &mut Tar {
        self.last().pax.push((key.to_owned(), value.into()));
        self
    }

    /// GNU's form of a number that octal digits cannot hold (GNU tar manual, "Extensions to the Traditional Archive Format").
    pub fn mtime_in_base_256(&mut self, seconds: i64) -> &mut Tar {
        let field = &mut self.last().header.as_mut_bytes()[136..148];
        field.fill(if seconds < 0 { 0xff } else { 0 });
        field[4..].copy_from_slice(&seconds.to_be_bytes());
        field[0] |= 0x80;
        self
    }

    pub fn xattr(&mut self, name: &str, value: &[u8]) -> &mut Tar {
        self.last().pax.push((format!("SCHILY.xattr.{name}"), value.to_vec()));
        self
    }

    pub fn finish(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in &self.entries {
            entry.write(&mut bytes);
        }
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }
}

impl Entry {
    fn write(&self, to: &mut Vec<u8>) {
        let mut header = self.header.clone();
        let mut pax = self.pax.clone();
        // The tar crate's setters refuse what hostile archives hold, so the bytes are set here.
        for (field, key, value) in [(0..100, "path", &self.path), (157..257, "linkpath", &self.link)] {
            let field = &mut header.as_mut_bytes()[field];
            if value.len() <= field.len() {
                field[..value.len()].copy_from_slice(value);
            } else {
                pax.push((key.to_owned(), value.clone()));
            }
        }
        if !pax.is_empty() {
            let mut body = Vec::new();
            for (key, value) in &pax {
                let rest = key.len() + value.len() + 3;
                let length = (1..).map(|digits| rest + digits).find(|n| n.to_string().len() + rest == *n);
                body.extend(format!("{} {key}=", length.unwrap()).bytes());
                body.extend_from_slice(value);
                body.push(b'\n');
            }
            let mut extended = tar::Header::new_ustar();
            extended.set_entry_type(tar::EntryType::XHeader);
            write(extended, &body, to);
        }
        write(header, &self.content, to);
    }
}

fn write(mut header: tar::Header, content: &[u8], to: &mut Vec<u8>) {
    header.set_size(content.len() as u64);
    header.set_cksum();
    to.extend_from_slice(header.as_bytes());
    to.extend_from_slice(content);
    to.resize(to.len().next_multiple_of(512), 0);
}
