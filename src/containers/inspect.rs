//! `docker inspect` of a container: the fields of the document, in its order, with real values, and Docker's
//! defaults where nobody asked for anything.

use super::spec::{MASKED_PATHS, READONLY_PATHS, argv, binds, hostname};
use super::state::Status;
use super::store::{Bundle, Record};
use bollard_stubs::models::ContainerCreateBody;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// What a client gets for `GET /containers/{id}/json`.
pub fn document(record: &Record, bundle: &Bundle) -> Value {
    let argv = argv(&record.config);
    let (path, args) = argv.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
    json!({
        "Id": record.id,
        "Created": record.created,
        "Path": path,
        "Args": args,
        "State": state(record),
        "Image": record.image,
        "ResolvConfPath": bundle.resolv_conf(),
        "HostnamePath": bundle.hostname(),
        "HostsPath": bundle.hosts(),
        "LogPath": bundle.log(),
        "Name": format!("/{}", record.name),
        "RestartCount": record.state.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": null,
        "HostConfig": host_config(&record.config),
        "GraphDriver": {"Data": graph_driver(record, bundle), "Name": "overlay2"},
        "Mounts": mounts(&record.config),
        "Config": config(record),
        "NetworkSettings": network_settings(record),
    })
}

/// What of the host is shown in the container.
fn mounts(config: &ContainerCreateBody) -> Value {
    let shares = config.host_config.as_ref().and_then(|h| binds::shares(h).ok()).unwrap_or_default();
    let all = shares.into_iter().map(|share| {
        json!({
            "Type": "bind", "Source": share.source, "Destination": share.target, "Mode": share.mode,
            "RW": !share.read_only, "Propagation": share.propagation,
        })
    });
    all.collect()
}

fn state(record: &Record) -> Value {
    let state = &record.state;
    let mut shown = json!({
        "Status": state.status,
        "Running": state.status.is_up(),
        "Paused": state.status == Status::Paused,
        "Restarting": state.status == Status::Restarting,
        "OOMKilled": state.oom_killed,
        "Dead": state.status == Status::Dead,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": state.started_at,
        "FinishedAt": state.finished_at,
    });
    if let (Some(health), Some(shown)) = (&state.health, shown.as_object_mut()) {
        shown.insert("Health".into(), json!(health));
    }
    shown
}

fn graph_driver(record: &Record, bundle: &Bundle) -> Value {
    let lower = record.layers.lower.iter().map(|l| record.layers.base.join(l).display().to_string());
    json!({
        "LowerDir": lower.collect::<Vec<_>>().join(":"),
        "MergedDir": bundle.merged(),
        "UpperDir": bundle.upper(),
        "WorkDir": bundle.work(),
    })
}

/// What was sent, as an object; nothing where it was left out.
fn as_sent(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// `template` with what was sent in place of its defaults. Fields that the template does not have come behind,
/// unless they are empty.
fn filled(template: Value, mut sent: Map<String, Value>) -> Map<String, Value> {
    let Value::Object(mut all) = template else { return sent };
    for (key, value) in &mut all {
        if let Some(own) = sent.shift_remove(key).filter(|own| !own.is_null()) {
            *value = own;
        }
    }
    all.extend(sent.into_iter().filter(|(_, value)| !value.is_null()));
    all
}

fn host_config(config: &ContainerCreateBody) -> Value {
    let sent = config.host_config.as_ref().map(as_sent).unwrap_or_default();
    let mut all = filled(host_config_defaults(), sent);
    // What clients send for "the default", and what that is.
    let unset = [
        ("NetworkMode", json!(""), json!("default")),
        ("CgroupnsMode", json!(""), json!("private")),
        ("IpcMode", json!(""), json!("private")),
        ("ShmSize", json!(0), json!(64 << 20)),
        ("MemorySwappiness", json!(-1), Value::Null),
        ("PidsLimit", json!(0), Value::Null),
    ];
    for (key, sent, meant) in unset {
        if all.get(key) == Some(&sent) {
            all.insert(key.to_owned(), meant);
        }
    }
    for (path, default) in [(["LogConfig", "Type"], "json-file"), (["RestartPolicy", "Name"], "no")] {
        if let Some(value) = all.get_mut(path[0]).and_then(|v| v.get_mut(path[1]))
            && value == ""
        {
            *value = json!(default);
        }
    }
    Value::Object(all)
}

fn host_config_defaults() -> Value {
    // In two parts: one literal of this length is more than the compiler takes.
    let mut first = json!({
        "Binds": null, "ContainerIDFile": "", "LogConfig": {"Type": "json-file", "Config": {}},
        "NetworkMode": "default", "PortBindings": {}, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": false, "VolumeDriver": "", "VolumesFrom": null, "ConsoleSize": [0, 0],
        "CapAdd": null, "CapDrop": null, "CgroupnsMode": "private",
        "Dns": [], "DnsOptions": [], "DnsSearch": [], "ExtraHosts": null, "GroupAdd": null,
        "IpcMode": "private", "Cgroup": "", "Links": null, "OomScoreAdj": 0, "PidMode": "",
        "Privileged": false, "PublishAllPorts": false, "ReadonlyRootfs": false, "SecurityOpt": null,
        "UTSMode": "", "UsernsMode": "", "ShmSize": 64 << 20, "Runtime": "rdock", "Isolation": "",
    });
    let second = json!({
        "CpuShares": 0, "Memory": 0, "NanoCpus": 0, "CgroupParent": "", "BlkioWeight": 0,
        "BlkioWeightDevice": [], "BlkioDeviceReadBps": [], "BlkioDeviceWriteBps": [],
        "BlkioDeviceReadIOps": [], "BlkioDeviceWriteIOps": [],
        "CpuPeriod": 0, "CpuQuota": 0, "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0,
        "CpusetCpus": "", "CpusetMems": "", "Devices": [], "DeviceCgroupRules": null, "DeviceRequests": null,
        "MemoryReservation": 0, "MemorySwap": 0, "MemorySwappiness": null, "OomKillDisable": false,
        "PidsLimit": null, "Ulimits": null, "CpuCount": 0, "CpuPercent": 0,
        "IOMaximumIOps": 0, "IOMaximumBandwidth": 0,
        "MaskedPaths": MASKED_PATHS, "ReadonlyPaths": READONLY_PATHS,
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut first, second) {
        all.extend(more);
    }
    first
}

fn config(record: &Record) -> Value {
    let mut sent = as_sent(&record.config);
    sent.shift_remove("HostConfig");
    sent.shift_remove("NetworkingConfig");
    let nothing = |v: &Value| v.as_object().is_some_and(Map::is_empty) || v.as_array().is_some_and(Vec::is_empty);
    for key in ["ExposedPorts", "Volumes", "OnBuild", "Entrypoint", "Healthcheck"] {
        if sent.get(key).is_some_and(nothing) {
            sent.shift_remove(key);
        }
    }
    let mut template = json!({
        "Hostname": "", "Domainname": "", "User": "",
        "AttachStdin": false, "AttachStdout": false, "AttachStderr": false,
        "ExposedPorts": null, "Tty": false, "OpenStdin": false, "StdinOnce": false,
        "Env": [], "Cmd": null, "Image": "", "Volumes": null, "WorkingDir": "", "Entrypoint": null,
        "OnBuild": null, "Labels": {},
    });
    if let (Value::Object(map), false) = (&mut template, sent.contains_key("ExposedPorts")) {
        map.shift_remove("ExposedPorts");
    }
    let mut all = filled(template, sent);
    if all.get("Hostname").is_some_and(|h| h == "") {
        // The host's own name is not looked up here: a container that shares it shows its id, as when it was made.
        all.insert("Hostname".to_owned(), json!(hostname(&record.config, &record.id, record.short_id())));
    }
    Value::Object(all)
}

/// The name of the network that a container is on, as `docker network ls` shows it.
pub(super) fn network_name(config: &ContainerCreateBody) -> &str {
    let mode = config.host_config.as_ref().and_then(|h| h.network_mode.as_deref());
    match mode {
        None | Some("" | "default") => "bridge",
        Some(name) => name,
    }
}

/// A network namespace with loopback only has no address; its place in `/proc` is real.
fn network_settings(record: &Record) -> Value {
    let endpoint = json!({
        "IPAMConfig": null, "Links": null, "Aliases": null, "NetworkID": "", "EndpointID": "",
        "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "", "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0, "MacAddress": "", "DriverOpts": null,
    });
    let key = match record.state.pid {
        0 => String::new(),
        pid => format!("/proc/{pid}/ns/net"),
    };
    json!({
        "Bridge": "", "SandboxID": "", "HairpinMode": false,
        "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0, "Ports": {}, "SandboxKey": key,
        "SecondaryIPAddresses": null, "SecondaryIPv6Addresses": null, "EndpointID": "", "Gateway": "",
        "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "IPAddress": "", "IPPrefixLen": 0,
        "IPv6Gateway": "", "MacAddress": "",
        "Networks": {(network_name(&record.config)): endpoint},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::spec::merge;
    use crate::containers::store::{Layers, Store};

    const SENT: &str = r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":true,"AttachStdout":true,
        "AttachStderr":true,"Tty":true,"OpenStdin":true,"StdinOnce":true,"Env":null,"Cmd":["/bin/bash"],
        "Image":"centos","Volumes":{},"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":{},
        "HostConfig":{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"","Config":{}},
        "NetworkMode":"default","PortBindings":{},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},
        "AutoRemove":false,"VolumeDriver":"","VolumesFrom":null,"ConsoleSize":[46,150],"CapAdd":null,
        "CgroupnsMode":"","Dns":[],"IpcMode":"","ShmSize":0,"Isolation":"","MemorySwappiness":-1,
        "PidsLimit":0,"MaskedPaths":null,"ReadonlyPaths":null,"OomScoreAdj":0}}"#;

    fn inspected() -> Value {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("containers")).unwrap();
        let id = "f6306cb0eaaa4894af9e6cd5d276c93fcadb3cfe5c1d2c46b44cb91d02d39ece";
        let config = merge(serde_json::from_str(SENT).unwrap(), None, &super::super::spec::Machine::default()).unwrap();
        let mut record = Record::new(id.into(), "funny_clarke".into(), "sha256:5d".into(), config);
        record.layers = Layers { base: "/data/snapshots".into(), lower: vec!["b/diff".into(), "a/diff".into()] };
        record.state.started(72103, "2023-12-23T13:18:37.176971566Z").unwrap();
        document(&record, &store.bundle(id))
    }

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn fields_come_in_the_documents_order() {
        let all = inspected();
        let top = "Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name RestartCount \
            Driver Platform MountLabel ProcessLabel AppArmorProfile ExecIDs HostConfig GraphDriver Mounts Config \
            NetworkSettings";
        assert_eq!(keys(&all).join(" "), top);
        let host = "Binds ContainerIDFile LogConfig NetworkMode PortBindings RestartPolicy AutoRemove VolumeDriver \
            VolumesFrom ConsoleSize CapAdd CapDrop CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode \
            Cgroup Links OomScoreAdj PidMode Privileged PublishAllPorts ReadonlyRootfs SecurityOpt UTSMode UsernsMode \
            ShmSize Runtime Isolation CpuShares Memory NanoCpus CgroupParent BlkioWeight BlkioWeightDevice \
            BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps BlkioDeviceWriteIOps CpuPeriod CpuQuota \
            CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus CpusetMems Devices DeviceCgroupRules DeviceRequests \
            MemoryReservation MemorySwap MemorySwappiness OomKillDisable PidsLimit Ulimits CpuCount CpuPercent \
            IOMaximumIOps IOMaximumBandwidth MaskedPaths ReadonlyPaths";
        assert_eq!(keys(&all["HostConfig"]).join(" "), host);
        let config = "Hostname Domainname User AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce Env Cmd \
            Image Volumes WorkingDir Entrypoint OnBuild Labels";
        assert_eq!(keys(&all["Config"]).join(" "), config);
        assert_eq!(keys(&all["NetworkSettings"]).len(), 18);
    }

    #[test]
    fn defaults_are_dockers_and_values_are_real() {
        let all = inspected();
        assert_eq!(all["Path"], "/bin/bash");
        assert_eq!(all["Args"], json!([]));
        assert_eq!(all["Name"], "/funny_clarke");
        assert_eq!(all["State"]["Pid"], 72103);
        assert_eq!(all["State"]["FinishedAt"], "0001-01-01T00:00:00Z");
        assert_eq!(all["GraphDriver"]["Data"]["LowerDir"], "/data/snapshots/b/diff:/data/snapshots/a/diff");
        let host = &all["HostConfig"];
        assert_eq!(host["LogConfig"]["Type"], "json-file");
        assert_eq!(host["ShmSize"], 67108864);
        assert_eq!(host["ConsoleSize"], json!([46, 150]));
        assert_eq!((&host["MemorySwappiness"], &host["PidsLimit"]), (&Value::Null, &Value::Null));
        assert_eq!(host["MaskedPaths"].as_array().unwrap().len(), 11);
        assert_eq!(all["Config"]["Hostname"], "f6306cb0eaaa");
        assert_eq!((&all["Config"]["Volumes"], &all["Config"]["Entrypoint"]), (&Value::Null, &Value::Null));
        assert_eq!(keys(&all["NetworkSettings"]["Networks"]), ["bridge"]);
    }
}
