//! `--cap-add`, `--cap-drop`, `--security-opt`, `--privileged`.

use super::SpecError;
use bollard_stubs::models::HostConfig;
use oci_spec::runtime::{Capabilities, Capability, LinuxSeccomp};
use serde::Deserialize;
use std::str::FromStr as _;

/// Tells the runtime to load its own profile; in the annotations of the spec.
pub use crate::shim::words::BUILTIN_SECCOMP;

/// Which filter of system calls.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    None,
    Builtin,
    /// The client's own, as it is.
    Own(String),
}

/// What `--security-opt` says.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub no_new_privileges: bool,
    pub filter: Filter,
}

/// Reads the options. AppArmor and labels are for kernels that have them; without, Docker takes and forgets them.
///
/// # Errors
/// [`SpecError::Refused`], Docker's words.
pub fn options(host: &HostConfig) -> Result<Options, SpecError> {
    let mut options = Options { no_new_privileges: false, filter: Filter::Builtin };
    if host.privileged == Some(true) {
        options.filter = Filter::None;
    }
    for option in host.security_opt.iter().flatten() {
        let wrong = |n: u8| SpecError::Refused(format!("invalid --security-opt {n}: {option:?}"));
        if option == "no-new-privileges" {
            options.no_new_privileges = true;
            continue;
        }
        let (key, value) = option.split_once('=').or_else(|| option.split_once(':')).ok_or_else(|| wrong(1))?;
        match (key, value) {
            ("no-new-privileges", "true" | "1" | "t" | "T" | "TRUE" | "True") => options.no_new_privileges = true,
            ("no-new-privileges", "false" | "0" | "f" | "F" | "FALSE" | "False") => options.no_new_privileges = false,
            ("seccomp", "unconfined") => options.filter = Filter::None,
            ("seccomp", "builtin") => options.filter = Filter::Builtin,
            ("seccomp", profile) => options.filter = Filter::Own(profile.to_owned()),
            ("label" | "apparmor" | "writable-cgroups", _) => {}
            _ => return Err(wrong(2)),
        }
    }
    Ok(options)
}

/// `CAP_CHOWN`, `chown` → the capability; none for a name that no kernel knows.
fn capability(name: &str) -> Option<Capability> {
    let upper = name.to_ascii_uppercase();
    Capability::from_str(upper.strip_prefix("CAP_").unwrap_or(&upper)).ok()
}

fn is_all(list: &Option<Vec<String>>) -> bool {
    list.iter().flatten().any(|name| name.eq_ignore_ascii_case("ALL"))
}

/// All capabilities there are.
pub fn all() -> Capabilities {
    crate::shim::words::CAPABILITY_NAMES.iter().filter_map(|name| capability(name)).collect()
}

/// The bounding set: the default, with what is dropped and what is added (moby, oci/caps). `ALL` on one side means all
/// but what the other names.
pub fn bounding(host: Option<&HostConfig>, default: &[Capability]) -> Capabilities {
    let Some(host) = host else { return default.iter().copied().collect() };
    if host.privileged == Some(true) {
        return all();
    }
    let named = |list: &Option<Vec<String>>| -> Capabilities {
        list.iter().flatten().filter_map(|name| capability(name)).collect()
    };
    let (add, drop) = (named(&host.cap_add), named(&host.cap_drop));
    let kept: Capabilities = match (is_all(&host.cap_add), is_all(&host.cap_drop)) {
        (true, _) => all().difference(&drop).copied().collect(),
        (false, true) => add,
        (false, false) => {
            let kept = default.iter().copied().filter(|cap| !drop.contains(cap));
            kept.chain(add).collect()
        }
    };
    kept
}

/// Names of capabilities, options, and a profile that can be read.
pub(super) fn check(host: &HostConfig) -> Result<(), SpecError> {
    for (list, field) in [(&host.cap_add, "CapAdd"), (&host.cap_drop, "CapDrop")] {
        let unknown = list.iter().flatten().find(|n| !n.eq_ignore_ascii_case("ALL") && capability(n).is_none());
        if let Some(name) = unknown {
            let upper = name.to_ascii_uppercase();
            let name = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
            return Err(SpecError::Refused(format!("invalid {field}: unknown capability: \"{name}\"")));
        }
    }
    if let Filter::Own(profile) = options(host)?.filter {
        let seccomp = resolve(&profile, &bounding(Some(host), &super::DEFAULT_CAPABILITIES))?;
        crate::shim::words::check_filter(&seccomp).map_err(SpecError::Refused)?;
    }
    Ok(())
}

/// What Docker's profiles have beyond the OCI spec's (moby, profiles/seccomp).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(default)]
    includes: Option<Which>,
    #[serde(default)]
    excludes: Option<Which>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Which {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

/// A profile in Docker's form as one in the OCI spec's: the rules that hold here, for these capabilities.
///
/// # Errors
/// [`SpecError::Refused`] for what is no profile.
pub fn resolve(profile: &str, caps: &Capabilities) -> Result<LinuxSeccomp, SpecError> {
    let wrong = |e: String| SpecError::Refused(format!("Decoding seccomp profile failed: {e}"));
    let mut value: serde_json::Value = serde_json::from_str(profile).map_err(|e| wrong(e.to_string()))?;
    let fields = value.as_object_mut().ok_or_else(|| wrong("it is no object".into()))?;
    if let Some(map) = fields.remove("archMap") {
        let map: Vec<ArchMap> = serde_json::from_value(map).map_err(|e| wrong(e.to_string()))?;
        let named = fields.get("architectures").and_then(|a| a.as_array()).is_some_and(|a| !a.is_empty());
        if named && !map.is_empty() {
            return Err(wrong("both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'".into()));
        }
        let own = map.into_iter().find(|m| m.architecture == native().0);
        let list: Vec<String> = own
            .map(|m| std::iter::once(m.architecture).chain(m.sub_architectures.unwrap_or_default()).collect())
            .unwrap_or_default();
        fields.insert("architectures".into(), list.into());
    }
    for key in ["architectures", "listenerPath", "flags"] {
        if fields.get(key).is_some_and(serde_json::Value::is_null) {
            fields.remove(key);
        }
    }
    if let Some(calls) = fields.get_mut("syscalls").and_then(|c| c.as_array_mut()) {
        let mut kept = vec![];
        for mut call in std::mem::take(calls) {
            let condition: Condition = serde_json::from_value(call.clone()).map_err(|e| wrong(e.to_string()))?;
            if !condition.holds(caps) {
                continue;
            }
            if let Some(call) = call.as_object_mut() {
                for key in ["includes", "excludes", "comment", "name"] {
                    call.remove(key);
                }
                if condition.names.is_none() {
                    call.insert("names".into(), vec![condition.name].into());
                }
                if call.get("args").is_some_and(serde_json::Value::is_null) {
                    call.remove("args");
                }
            }
            kept.push(call);
        }
        *calls = kept;
    } else {
        fields.remove("syscalls");
    }
    serde_json::from_value(value).map_err(|e| wrong(e.to_string()))
}

/// The machine as profiles name it: libseccomp's name, and Go's.
fn native() -> (&'static str, &'static str) {
    match std::env::consts::ARCH {
        "aarch64" => ("SCMP_ARCH_AARCH64", "arm64"),
        "x86" => ("SCMP_ARCH_X86", "x86"),
        _ => ("SCMP_ARCH_X86_64", "amd64"),
    }
}

impl Condition {
    fn holds(&self, caps: &Capabilities) -> bool {
        let has = |name: &String| capability(name).is_some_and(|cap| caps.contains(&cap));
        let here = |name: &String| *name == native().1;
        let included = self.includes.as_ref().is_none_or(|w| {
            w.caps.iter().flatten().all(has)
                && w.arches.as_ref().is_none_or(|a| a.is_empty() || a.iter().any(here))
                && w.min_kernel.as_deref().is_none_or(at_least)
        });
        let excluded = self.excludes.as_ref().is_some_and(|w| {
            w.caps.iter().flatten().any(has)
                || w.arches.iter().flatten().any(here)
                || w.min_kernel.as_deref().is_some_and(at_least)
        });
        included && !excluded
    }
}

/// The kernel that runs is this one or a younger one: `4.8`.
fn at_least(version: &str) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let numbers = |text: &str| {
        let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    };
    numbers(&release) >= numbers(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(add: &[&str], drop: &[&str]) -> HostConfig {
        let list = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect());
        HostConfig { cap_add: list(add), cap_drop: list(drop), ..Default::default() }
    }

    #[test]
    fn capabilities_are_added_and_dropped_by_dockers_rules() {
        let default = super::super::DEFAULT_CAPABILITIES;
        let set = |add: &[&str], drop: &[&str]| bounding(Some(&host(add, drop)), &default);
        assert_eq!(set(&[], &[]).len(), 14);
        assert!(set(&["sys_admin"], &[]).contains(&Capability::SysAdmin));
        assert!(!set(&[], &["CAP_CHOWN"]).contains(&Capability::Chown));
        assert_eq!(set(&["CHOWN"], &["all"]), [Capability::Chown].into());
        assert_eq!(set(&["ALL"], &["CHOWN"]).len(), 40);
        assert_eq!(set(&[], &["ALL"]).len(), 0);
        let privileged = HostConfig { privileged: Some(true), ..host(&[], &["ALL"]) };
        assert_eq!(bounding(Some(&privileged), &default).len(), 41);
    }

    #[test]
    fn a_profile_in_dockers_form_becomes_one_of_the_spec() {
        let profile = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": null}],
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "x", "includes": {}},
                {"name": "chroot", "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT"]}},
                {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}}
            ]}"#;
        let names = |caps: &[Capability]| {
            let seccomp = resolve(profile, &caps.iter().copied().collect()).unwrap();
            let calls = seccomp.syscalls().clone().unwrap_or_default();
            calls.iter().flat_map(|c| c.names().clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&[Capability::SysChroot]), "read chroot clone3");
        assert_eq!(names(&[Capability::SysAdmin]), "read mount");
        assert!(resolve("[]", &Capabilities::new()).is_err());
        assert!(resolve(r#"{"defaultAction": "SCMP_ACT_NOPE"}"#, &Capabilities::new()).is_err());
    }

    #[test]
    fn options_that_nobody_knows_are_refused() {
        let said = |option: &str| {
            let host = HostConfig { security_opt: Some(vec![option.into()]), ..Default::default() };
            options(&host).map_err(|e| e.to_string())
        };
        assert_eq!(said("bogus"), Err("invalid --security-opt 1: \"bogus\"".into()));
        assert_eq!(
            said("no-new-privileges:maybe"),
            Err("invalid --security-opt 2: \"no-new-privileges:maybe\"".into())
        );
        assert!(said("no-new-privileges=true").unwrap().no_new_privileges);
        assert!(!said("no-new-privileges:false").unwrap().no_new_privileges);
        assert_eq!(said("seccomp=unconfined").unwrap().filter, Filter::None);
        assert_eq!(said("apparmor=x").unwrap().filter, Filter::Builtin);
    }
}
