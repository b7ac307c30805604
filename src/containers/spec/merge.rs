//! What the client asked for, joined with what the image says: the container's configuration.

use super::{Machine, SpecError};
use bollard_stubs::models::ContainerCreateBody;
use oci_spec::image::Config as ImageConfig;
use std::collections::HashMap;

/// Joins the two and checks the result. What the client says counts; lists and maps are added up.
///
/// # Errors
/// [`SpecError`] for what can't be run, in Docker's words where it has some.
pub fn merge(
    mut body: ContainerCreateBody,
    image: Option<&ImageConfig>,
    machine: &Machine,
) -> Result<ContainerCreateBody, SpecError> {
    let none = ImageConfig::default();
    let image = image.unwrap_or(&none);
    command(&mut body, image);
    let or_image = |own: &mut Option<String>, theirs: &Option<String>| {
        if own.as_deref().unwrap_or("").is_empty() {
            own.clone_from(theirs);
        }
    };
    or_image(&mut body.user, image.user());
    or_image(&mut body.working_dir, image.working_dir());
    or_image(&mut body.stop_signal, image.stop_signal());
    body.env = Some(environment(body.env.unwrap_or_default(), image.env().as_deref().unwrap_or(&[])));
    let mut labels: HashMap<String, String> = image.labels().clone().unwrap_or_default();
    labels.extend(body.labels.take().unwrap_or_default());
    body.labels = Some(labels);
    body.exposed_ports = union(body.exposed_ports, image.exposed_ports());
    body.volumes = union(body.volumes, image.volumes());
    check(&body, machine)?;
    adapt(&mut body);
    Ok(body)
}

/// What Docker fills in where nothing was said (moby, adaptContainerSettings).
fn adapt(body: &mut ContainerCreateBody) {
    let Some(host) = &mut body.host_config else { return };
    let memory = host.memory.unwrap_or(0);
    if memory > 0 && host.memory_swap.unwrap_or(0) == 0 {
        host.memory_swap = Some(memory.saturating_mul(2));
    }
    if host.privileged == Some(true) {
        host.masked_paths = Some(vec![]);
        host.readonly_paths = Some(vec![]);
        let options = host.security_opt.get_or_insert_default();
        if !options.iter().any(|o| o == "label=disable") {
            options.push("label=disable".into());
        }
    }
}

/// The image's `CMD` counts only when the client gave neither command nor entrypoint; `--entrypoint ""` (one empty
/// string) takes the image's entrypoint away.
fn command(body: &mut ContainerCreateBody, image: &ImageConfig) {
    let empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if empty(&body.entrypoint) {
        if empty(&body.cmd) {
            body.cmd.clone_from(image.cmd());
        }
        body.entrypoint.clone_from(image.entrypoint());
    }
    let nothing = |e: &Vec<String>| e.is_empty() || e.as_slice() == [""];
    body.entrypoint = body.entrypoint.take().filter(|e| !nothing(e));
    body.cmd = body.cmd.take().filter(|c| !c.is_empty());
}

fn key(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(key, _)| key)
}

/// The client's variables, then those of the image that it did not name.
fn environment(mut own: Vec<String>, image: &[String]) -> Vec<String> {
    for variable in image {
        if !own.iter().any(|v| key(v) == key(variable)) {
            own.push(variable.clone());
        }
    }
    own
}

fn union(own: Option<Vec<String>>, image: &Option<Vec<String>>) -> Option<Vec<String>> {
    let mut all = own.unwrap_or_default();
    all.extend(image.iter().flatten().cloned());
    all.sort();
    all.dedup();
    (!all.is_empty()).then_some(all)
}

/// Path and arguments of the command: entrypoint, then cmd.
pub fn argv(config: &ContainerCreateBody) -> Vec<String> {
    let list = |l: &Option<Vec<String>>| l.clone().unwrap_or_default();
    let mut argv = list(&config.entrypoint);
    argv.extend(list(&config.cmd));
    argv
}

fn check(body: &ContainerCreateBody, machine: &Machine) -> Result<(), SpecError> {
    let argv = argv(body);
    if argv.first().is_none_or(String::is_empty) {
        return Err(SpecError::NoCommand);
    }
    let directory = body.working_dir.as_deref().unwrap_or("");
    if !directory.is_empty() && !directory.starts_with('/') {
        return Err(SpecError::WorkingDir(directory.into()));
    }
    let env = body.env.iter().flatten();
    if let Some(bad) = env.clone().find(|v| key(v).is_empty()) {
        return Err(SpecError::Env(bad.clone()));
    }
    let texts = argv.iter().chain(env).map(String::as_str);
    let hostname = body.hostname.as_deref().unwrap_or("");
    let domain = body.domainname.as_deref().unwrap_or("");
    let user = body.user.as_deref().unwrap_or("");
    if let Some(bad) = texts.chain([directory, hostname, domain, user]).find(|t| t.contains('\0')) {
        return Err(SpecError::Nul(bad.replace('\0', "\\0")));
    }
    for name in [hostname, domain] {
        // sethostname(2) takes 64 bytes; a line break would put lines of one's own into /etc/hosts.
        if name.len() > 63 || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(SpecError::Hostname(name.into()));
        }
    }
    if let Some(signal) = body.stop_signal.as_deref().filter(|s| !s.is_empty()) {
        super::signal::parse(signal)?;
    }
    match &body.host_config {
        Some(host) => super::check::host(body, host, machine),
        None => Ok(()),
    }
}

/// What was asked for and will not be there, one sentence each; the create answer carries them.
pub fn warnings(config: &ContainerCreateBody) -> Vec<String> {
    let Some(host) = &config.host_config else {
        return vec![];
    };
    let mut warnings = vec![];
    if host.oom_kill_disable == Some(true) && host.memory.unwrap_or(0) <= 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources."
                .to_owned(),
        );
    }
    if config.volumes.as_ref().is_some_and(|v| !v.is_empty()) {
        warnings.push("rdock has no volumes yet: what is written there goes with the container.".into());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::super::merge as merge_on;
    use super::*;
    use bollard_stubs::models::HostConfig;

    fn merge(body: ContainerCreateBody, image: Option<&ImageConfig>) -> Result<ContainerCreateBody, SpecError> {
        merge_on(body, image, &Machine::default())
    }

    fn list(items: &[&str]) -> Option<Vec<String>> {
        Some(items.iter().map(|s| (*s).to_owned()).collect())
    }

    fn image() -> ImageConfig {
        let mut image = ImageConfig::default();
        image.set_cmd(list(&["/bin/bash"]));
        image.set_env(list(&["PATH=/bin", "A=image"]));
        image.set_labels(Some([("k".to_owned(), "image".to_owned())].into()));
        image
    }

    fn body(cmd: &[&str]) -> ContainerCreateBody {
        ContainerCreateBody { cmd: list(cmd), ..Default::default() }
    }

    #[test]
    fn the_images_command_counts_only_when_none_was_given() {
        let merged = merge(body(&[]), Some(&image())).unwrap();
        assert_eq!(argv(&merged), ["/bin/bash"]);
        let merged = merge(body(&["ls", "-l"]), Some(&image())).unwrap();
        assert_eq!(argv(&merged), ["ls", "-l"]);
    }

    #[test]
    fn entrypoint_and_command_follow_dockers_rules() {
        let mut image = image();
        image.set_entrypoint(list(&["/entry"]));
        let merged = merge(body(&[]), Some(&image)).unwrap();
        assert_eq!(argv(&merged), ["/entry", "/bin/bash"]);
        let merged = merge(body(&["x"]), Some(&image)).unwrap();
        assert_eq!(argv(&merged), ["/entry", "x"]);
        let own = ContainerCreateBody { entrypoint: list(&["/own"]), ..Default::default() };
        assert_eq!(argv(&merge(own, Some(&image)).unwrap()), ["/own"]);
        let none = ContainerCreateBody { entrypoint: list(&[""]), ..body(&["x"]) };
        assert_eq!(argv(&merge(none, Some(&image)).unwrap()), ["x"]);
        let nothing = ContainerCreateBody { entrypoint: list(&[""]), ..Default::default() };
        assert_eq!(merge(nothing, Some(&image)), Err(SpecError::NoCommand));
        assert_eq!(merge(body(&[]), None), Err(SpecError::NoCommand));
    }

    #[test]
    fn variables_and_labels_of_the_client_come_first() {
        let mut own = body(&[]);
        own.env = list(&["A=own", "B=1"]);
        own.labels = Some([("l".to_owned(), "own".to_owned())].into());
        let merged = merge(own, Some(&image())).unwrap();
        assert_eq!(merged.env, list(&["A=own", "B=1", "PATH=/bin"]));
        let labels = merged.labels.unwrap();
        assert_eq!((labels["k"].as_str(), labels["l"].as_str()), ("image", "own"));
    }

    #[test]
    fn what_cant_be_run_is_refused() {
        let with = |change: fn(&mut ContainerCreateBody)| {
            let mut body = body(&["x"]);
            change(&mut body);
            merge(body, None).map(drop).unwrap_err().to_string()
        };
        assert_eq!(
            with(|b| b.working_dir = Some("tmp".into())),
            "the working directory 'tmp' is invalid, it needs to be an absolute path"
        );
        assert_eq!(with(|b| b.env = list(&["=x"])), "invalid environment variable: =x");
        assert!(with(|b| b.env = list(&["A=\0"])).contains("NUL"));
        assert!(with(|b| b.hostname = Some("a\nb".into())).contains("hostname"));
        assert_eq!(with(|b| b.stop_signal = Some("SIGNOPE".into())), "Invalid signal: SIGNOPE");
        let host = |host: HostConfig| {
            let body = ContainerCreateBody { host_config: Some(host), ..body(&["x"]) };
            merge(body, None).map(drop).unwrap_err().to_string()
        };
        let network = Some("blue".to_owned());
        assert_eq!(host(HostConfig { network_mode: network, ..Default::default() }), "network blue not found");
        assert!(
            host(HostConfig { volumes_from: list(&["x"]), ..Default::default() })
                .contains("rdock can't do --volumes-from yet")
        );
    }

    #[test]
    fn a_limit_of_memory_brings_one_of_swap() {
        let host_config = Some(HostConfig { memory: Some(64 << 20), ..Default::default() });
        let merged = merge(ContainerCreateBody { host_config, ..body(&["x"]) }, None).unwrap();
        assert_eq!(merged.host_config.unwrap().memory_swap, Some(128 << 20));
    }

    #[test]
    fn what_is_left_out_is_warned_of() {
        let host_config = Some(HostConfig { oom_kill_disable: Some(true), ..Default::default() });
        let merged = merge(ContainerCreateBody { host_config, ..body(&["x"]) }, None).unwrap();
        assert!(warnings(&merged)[0].starts_with("OOM killer is disabled for the container"));
        assert!(warnings(&merge(body(&["x"]), None).unwrap()).is_empty());
    }
}
