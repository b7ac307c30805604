//! Who a container runs as: `--user` looked up in the image's own passwd(5) and group(5). Pure: texts in, ids out.

/// Largest id that Docker takes.
const MAX_ID: u32 = i32::MAX as u32;

/// The user that the command runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
    /// The primary group and all others that the user belongs to, without repeats.
    pub additional_gids: Vec<u32>,
    /// Home directory from the passwd entry, or `/`.
    pub home: String,
}

/// Words of the engine that clients know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoSuchUser(String),
    #[error("unable to find group {0}: no matching entries in group file")]
    NoSuchGroup(String),
    #[error("uids and gids must be in range 0-{MAX_ID}")]
    Range,
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Lines that are not entries (comments, NIS markers, garbage of an image) are passed over.
fn passwd(text: &str) -> impl Iterator<Item = Passwd<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|n| !n.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or("");
        Some(Passwd { name, uid, gid, home })
    })
}

fn groups(text: &str) -> impl Iterator<Item = Group<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|n| !n.is_empty())?;
        let gid = fields.nth(1)?.parse().ok()?;
        let members = fields.next().unwrap_or("");
        Some(Group { name, gid, members })
    })
}

/// A number in `--user`, if it is one.
fn id(text: &str) -> Result<Option<u32>, AccountError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse() {
        Ok(n) if n <= MAX_ID => Ok(Some(n)),
        _ => Err(AccountError::Range),
    }
}

fn group_id(wanted: &str, group_file: &str) -> Result<u32, AccountError> {
    let number = id(wanted)?;
    groups(group_file)
        .find(|g| g.name == wanted || Some(g.gid) == number)
        .map(|g| g.gid)
        .or(number)
        .ok_or_else(|| AccountError::NoSuchGroup(wanted.into()))
}

/// Looks up `user` (`""`, `name`, `uid`, each with `:group` or `:gid`) and the groups of `--group-add`.
///
/// A number need not be in the files; a name must be. With an explicit group the user's other groups do not count.
///
/// # Errors
/// Names that the image does not have, and numbers that no id can be.
pub fn look_up(user: &str, group_add: &[String], passwd_file: &str, group_file: &str) -> Result<Account, AccountError> {
    let (user, group) = user.split_once(':').unwrap_or((user, ""));
    let number = if user.is_empty() { Some(0) } else { id(user)? };
    let entry = passwd(passwd_file).find(|e| e.name == user || Some(e.uid) == number);
    let uid = match (&entry, number) {
        (Some(e), _) => e.uid,
        (None, Some(n)) => n,
        (None, None) => return Err(AccountError::NoSuchUser(user.into())),
    };
    let mut additional_gids = vec![];
    let gid = if group.is_empty() { entry.as_ref().map_or(0, |e| e.gid) } else { group_id(group, group_file)? };
    additional_gids.push(gid);
    if let (true, Some(e)) = (group.is_empty(), &entry) {
        let belongs = groups(group_file).filter(|g| g.members.split(',').any(|m| m == e.name));
        additional_gids.extend(belongs.map(|g| g.gid));
    }
    for wanted in group_add {
        additional_gids.push(group_id(wanted, group_file)?);
    }
    let mut seen = std::collections::HashSet::new();
    additional_gids.retain(|gid| seen.insert(*gid));
    let home = entry.map(|e| e.home).filter(|h| !h.is_empty()).unwrap_or("/");
    Ok(Account { uid, gid, additional_gids, home: home.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n# comment\n+::::::\nbad:x:y:z\n\
        daemon:x:2:2:daemon:/sbin:/sbin/nologin\nann:x:1000:100:Ann:/home/ann:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,ann\nusers:x:100:\nvideo:x:39:ann\n";

    fn of(user: &str) -> Result<Account, AccountError> {
        look_up(user, &[], PASSWD, GROUP)
    }

    #[test]
    fn nobody_named_is_root_with_its_groups() {
        let root = of("").unwrap();
        assert_eq!((root.uid, root.gid, root.home.as_str()), (0, 0, "/root"));
        assert_eq!(root.additional_gids, [0, 10]);
    }

    #[test]
    fn a_name_brings_its_groups_and_home() {
        let ann = of("ann").unwrap();
        assert_eq!((ann.uid, ann.gid), (1000, 100));
        assert_eq!(ann.additional_gids, [100, 10, 39]);
        assert_eq!(ann.home, "/home/ann");
        assert_eq!(of("1000").unwrap(), ann);
    }

    #[test]
    fn an_explicit_group_is_the_only_one() {
        let ann = of("ann:wheel").unwrap();
        assert_eq!((ann.gid, ann.additional_gids), (10, vec![10]));
        assert_eq!(of("ann:7").unwrap().gid, 7);
    }

    #[test]
    fn a_number_need_not_be_known_but_a_name_must() {
        let some = of("4321").unwrap();
        assert_eq!((some.uid, some.gid, some.home.as_str()), (4321, 0, "/"));
        assert_eq!(of("eve").unwrap_err().to_string(), "unable to find user eve: no matching entries in passwd file");
        assert_eq!(
            of("ann:eve").unwrap_err().to_string(),
            "unable to find group eve: no matching entries in group file"
        );
        assert_eq!(of("4294967296").unwrap_err(), AccountError::Range);
    }

    #[test]
    fn added_groups_come_last_and_once() {
        let ann = look_up("ann", &["video".into(), "77".into()], PASSWD, GROUP).unwrap();
        assert_eq!(ann.additional_gids, [100, 10, 39, 77]);
    }

    #[test]
    fn an_image_without_files_has_root_at_the_top() {
        let root = look_up("", &[], "", "").unwrap();
        assert_eq!((root.uid, root.gid, root.home.as_str()), (0, 0, "/"));
    }

    proptest! {
        #[test]
        fn any_file_is_read_without_harm(user in ".{0,20}", p in "[a-z0-9:,\n#+-]{0,200}", g in "[a-z0-9:,\n]{0,200}") {
            if let Ok(account) = look_up(&user, &[], &p, &g) {
                prop_assert!(account.additional_gids.contains(&account.gid));
            }
        }
    }
}
