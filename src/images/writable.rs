//! The writable layer of a container: made empty over the image's layers, removed with all that the container wrote.

use super::unpack::{Dir, Removal, remove_tree};
use crate::kernel::traced::because;
use crate::kernel::{Call, Errno, Fd, Kernel};
use crate::trace::Actor;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Making or removing a writable layer stopped here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{step} {path}: {}", errno.desc().to_lowercase())]
pub struct WritableLayerError {
    /// `mkdir`, `chmod`, `rename`, `delete`.
    pub step: &'static str,
    pub path: PathBuf,
    pub errno: Errno,
}

/// Makes and removes writable layers.
#[derive(Clone)]
pub struct WritableLayers {
    kernel: Arc<dyn Kernel>,
}

impl WritableLayers {
    pub fn new(kernel: Arc<dyn Kernel>) -> WritableLayers {
        WritableLayers { kernel }
    }

    /// Makes the empty layer, overlayfs' scratch directory beside it, and the place where all layers are joined.
    /// What is there already stays.
    ///
    /// # Errors
    /// The directory that could not be made, and what mkdir(2) or chmod(2) answered.
    pub fn make(&self, upper: &Path, work: &Path, merged: &Path) -> Result<(), WritableLayerError> {
        let why = "what the container writes goes here; the image's layers stay as they are";
        self.make_dir(upper, 0o755, why)?;
        self.make_dir(work, 0o700, "overlayfs prepares files here before they show")?;
        self.make_dir(merged, 0o755, "the place where the layers are joined into one tree")
    }

    fn make_dir(&self, path: &Path, mode: u32, why: &'static str) -> Result<(), WritableLayerError> {
        let failed = |step| move |errno| WritableLayerError { step, path: path.to_owned(), errno };
        let (dirfd, pathname) = (Fd::Cwd, path.to_owned());
        because(Actor::Layer, why, || {
            match self.kernel.call(&Call::Mkdirat { dirfd, pathname: pathname.clone(), mode }) {
                Ok(_) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(failed("mkdir")(errno)),
            }
            // A daemon with a strict umask would shut everybody but root out of the container's `/`.
            let is = std::fs::metadata(path).map(|m| m.permissions().mode() & 0o777);
            if is.is_ok_and(|is| is != mode) {
                self.kernel.call(&Call::Fchmodat { dirfd, pathname, mode }).map_err(failed("chmod"))?;
            }
            Ok(())
        })
    }

    /// Moves `parent/name`, the directory of a container, to `aside/name` by one rename: from then on it is removed,
    /// also if the machine fails. [`WritableLayers::remove`] deletes it there.
    ///
    /// # Errors
    /// What renameat(2) answered; the directory stays where it is. A name that is not there is no error.
    pub fn set_aside(&self, parent: &Path, name: &str, aside: &Path) -> Result<(), WritableLayerError> {
        let (oldpath, newpath) = (parent.join(name), aside.join(name));
        let call = Call::Renameat { olddirfd: Fd::Cwd, oldpath: oldpath.clone(), newdirfd: Fd::Cwd, newpath };
        let why = "one rename and the container is gone, whatever happens; its files are deleted when this is answered";
        match because(Actor::Layer, why, || self.kernel.call(&call)) {
            Ok(_) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(WritableLayerError { step: "rename", path: oldpath, errno }),
        }
    }

    /// Removes `parent/name`, the directory of a container, with the layer and all else in it ([`remove_tree`]). A
    /// name that is not there is no error.
    ///
    /// # Errors
    /// What the first call that failed answered; it can be taken up again.
    pub fn remove(&self, parent: &Path, name: &str) -> Result<Removal, WritableLayerError> {
        self.remove_because(parent, name, "the container is removed, and its writable layer with it")
    }

    /// Overlayfs' scratch directory of a layer that was mounted `volatile` before: what it has left there refuses a
    /// second mount, since after a crash of the machine the layer may be broken (overlayfs, Volatile mount). There was
    /// no crash: this daemon has seen the container end.
    ///
    /// # Errors
    /// As for [`WritableLayers::remove`] and [`WritableLayers::make`].
    pub fn renew_work(&self, parent: &Path, name: &str) -> Result<(), WritableLayerError> {
        if !parent.join(name).join("work/incompat").exists() {
            return Ok(());
        }
        self.remove_because(parent, name, "overlayfs refuses what an earlier volatile mount has left here")?;
        self.make_dir(&parent.join(name), 0o700, "overlayfs prepares files here before they show")
    }

    fn remove_because(&self, parent: &Path, name: &str, why: &'static str) -> Result<Removal, WritableLayerError> {
        let failed = |errno| WritableLayerError { step: "delete", path: parent.join(name), errno };
        because(Actor::Layer, why, || match Dir::open(&*self.kernel, parent) {
            Ok(parent) => remove_tree(&parent, Path::new(name)).map_err(errno_of),
            Err(Errno::ENOENT) => Ok(Removal::default()),
            Err(errno) => Err(errno),
        })
        .map_err(failed)
    }
}

fn errno_of(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::faulty::Faulty;
    use crate::kernel::linux::LinuxKernel;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn layers() -> WritableLayers {
        WritableLayers::new(Arc::new(LinuxKernel))
    }

    #[test]
    fn removes_everything_and_follows_no_symlink() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        let upper = dir.path().join("upper");
        fs::create_dir_all(upper.join("a/b")).unwrap();
        fs::write(upper.join("a/b/file"), "x").unwrap();
        symlink(&outside, upper.join("a/link")).unwrap();
        symlink(&outside, upper.join("direct")).unwrap();
        fs::create_dir(upper.join("closed")).unwrap();
        fs::write(upper.join("closed/f"), "x").unwrap();
        fs::set_permissions(upper.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        let removal = layers().remove(dir.path(), "upper").unwrap();
        assert_eq!((removal.files, removal.directories), (4, 4));
        assert!(!upper.exists());
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn a_symlink_in_place_of_the_tree_is_removed_itself() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "x").unwrap();
        symlink(outside.path(), dir.path().join("upper")).unwrap();
        layers().remove(dir.path(), "upper").unwrap();
        assert!(outside.path().join("kept").exists());
        assert!(fs::symlink_metadata(dir.path().join("upper")).is_err());
    }

    #[test]
    fn what_is_set_aside_is_gone_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let aside = dir.path().join("removed");
        fs::create_dir_all(dir.path().join("c1/upper/a")).unwrap();
        fs::create_dir(&aside).unwrap();
        // The second time as after a crash: nothing is there, and nothing is lost.
        for _ in 0..2 {
            layers().set_aside(dir.path(), "c1", &aside).unwrap();
            assert!(!dir.path().join("c1").exists() && aside.join("c1/upper/a").exists());
        }
        layers().remove(&aside, "c1").unwrap();
        assert_eq!(fs::read_dir(aside).unwrap().count(), 0);
    }

    #[test]
    fn what_is_not_there_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(layers().remove(dir.path(), "none"), Ok(Removal::default()));
        assert_eq!(layers().remove(&dir.path().join("no"), "none"), Ok(Removal::default()));
    }

    #[test]
    fn a_layer_is_made_once_and_is_open_to_all_users_of_the_container() {
        let dir = tempfile::tempdir().unwrap();
        let [upper, work, merged] = ["upper", "work", "merged"].map(|name| dir.path().join(name));
        for _ in 0..2 {
            layers().make(&upper, &work, &merged).unwrap();
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&upper), mode(&work), mode(&merged)), (0o755, 0o700, 0o755));
    }

    #[test]
    fn every_failure_is_told_and_can_be_taken_up_again() {
        let mut failures = 0;
        for at in 0.. {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("upper/a/b")).unwrap();
            fs::write(dir.path().join("upper/a/b/f"), "x").unwrap();
            let kernel = Arc::new(Faulty::new(LinuxKernel, at, Errno::EIO));
            // A descriptor that can't be closed is nothing that anybody need know.
            if let Err(error) = WritableLayers::new(kernel.clone()).remove(dir.path(), "upper") {
                assert!(error.to_string().ends_with("upper: i/o error"), "{error}");
                failures += 1;
            }
            layers().remove(dir.path(), "upper").unwrap();
            assert!(!dir.path().join("upper").exists());
            if kernel.made() <= at {
                break;
            }
        }
        assert!(failures > 5, "{failures}");
    }
}
