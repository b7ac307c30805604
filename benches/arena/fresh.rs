//! A file system that nobody has written to: creating files is slow where many were just deleted.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Mounts of this process and its children are theirs alone, and go with the last of them, however it ends.
pub fn keep_mounts_private() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    Ok(mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?)
}

/// What a fresh file system is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ext4 in a sparse file, through a loop device.
    Ext4,
    Tmpfs,
}

/// Mounted at `path`; unmounted and removed when dropped.
pub struct Fresh {
    pub path: PathBuf,
    file: PathBuf,
    mounted: bool,
}

impl Fresh {
    pub fn mount(dir: &Path, name: &str, kind: Kind, bytes: u64) -> io::Result<Fresh> {
        let mut fresh = Fresh { path: dir.join(name), file: dir.join(format!("{name}.img")), mounted: false };
        std::fs::create_dir_all(&fresh.path)?;
        match kind {
            Kind::Tmpfs => {
                let size = format!("size={bytes}");
                mount(Some("tmpfs"), &fresh.path, Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))?;
            }
            Kind::Ext4 => {
                File::create(&fresh.file)?.set_len(bytes)?;
                // The tables now, not by the kernel while something is measured.
                let options = "lazy_itable_init=0,lazy_journal_init=0";
                run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", options]).arg(&fresh.file))?;
                run(Command::new("mount").args(["-o", "loop"]).arg(&fresh.file).arg(&fresh.path))?;
            }
        }
        fresh.mounted = true;
        Ok(fresh)
    }

    /// Waits until everything is on its disk (syncfs(2)).
    pub fn sync(&self) -> io::Result<()> {
        Ok(nix::unistd::syncfs(File::open(&self.path)?)?)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if self.mounted {
            // What a daemon has mounted within goes with it.
            let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        }
        let _ = std::fs::remove_file(&self.file);
        let _ = std::fs::remove_dir(&self.path);
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))),
    }
}
