//! The daemon's file, `daemon.json`: Docker's names where Docker has names.

use crate::oci::DOCKER_DOMAIN;
use crate::registry::client::{Config as Registries, Insecure, Mirror, Proxies};
use std::net::SocketAddr;
use std::path::Path;

/// What the file says.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Config {
    /// Where the lab hub listens: `127.0.0.1:5050`.
    hub_listen: Option<String>,
    /// Asked before Docker's registry, in this order: `https://mirror.example`.
    registry_mirrors: Vec<String>,
    /// Their certificates are not checked, and they may speak plain HTTP: `registry.lan:5000`, `10.1.0.0/16`.
    insecure_registries: Vec<String>,
    proxies: ProxyConfig,
    /// So many bytes may come out of one layer of an image.
    max_layer_size: Option<u64>,
}

/// 64 GiB: far more than any layer that somebody meant has.
const MAX_LAYER: u64 = 64 << 30;

/// What the file says here counts more than the environment.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct ProxyConfig {
    http_proxy: Option<String>,
    https_proxy: Option<String>,
    no_proxy: Option<String>,
}

impl Config {
    /// Reads the named file, else `daemon.json` in the directory, which need not be there.
    pub fn read(named: Option<&Path>, directory: &Path) -> Result<Config, String> {
        let usual = directory.join("daemon.json");
        let path = named.unwrap_or(&usual);
        let text = match std::fs::read_to_string(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && named.is_none() => return Ok(Config::default()),
            read => read.map_err(|e| format!("cannot read {}: {e}", path.display()))?,
        };
        serde_json::from_str(&text).map_err(|e| format!("cannot understand {}: {e}", path.display()))
    }

    /// `RDOCK_HUB_LISTEN`, else the file; else people have no door to the hub.
    pub fn hub_listen(&self) -> Result<Option<SocketAddr>, String> {
        let said = std::env::var("RDOCK_HUB_LISTEN").ok().filter(|v| !v.is_empty()).or(self.hub_listen.clone());
        let Some(address) = said else { return Ok(None) };
        let parsed = address.parse();
        parsed
            .map(Some)
            .map_err(|_| format!("the lab hub cannot listen on {address:?}: it must look like 127.0.0.1:5050"))
    }

    /// So many bytes may come out of one layer, whatever it is packed with.
    pub fn max_layer_size(&self) -> u64 {
        self.max_layer_size.unwrap_or(MAX_LAYER)
    }

    /// How registries are reached; certificates are in `certs.d` of the directory.
    pub fn registries(&self, directory: &Path) -> Result<Registries, String> {
        let mut insecure = Insecure::parse(&self.insecure_registries)?;
        let mut mirrors = Vec::new();
        for url in &self.registry_mirrors {
            let parsed: Option<http::Uri> = url.parse().ok();
            let usable = parsed.is_some_and(|u| {
                matches!(u.scheme_str(), Some("http" | "https"))
                    && u.host().is_some()
                    && u.path() == "/"
                    && u.query().is_none()
            });
            if !usable {
                return Err(format!("registry mirror {url:?} must look like https://mirror.example"));
            }
            insecure = insecure.and_plain(url);
            mirrors.push(Mirror { url: url.clone(), for_domain: DOCKER_DOMAIN.to_owned() });
        }
        let environment = Proxies::from_env();
        let said = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
        let proxies = Proxies {
            http: said(&self.proxies.http_proxy).or(environment.http),
            https: said(&self.proxies.https_proxy).or(environment.https),
            none_for: self.proxies.no_proxy.clone().unwrap_or(environment.none_for),
        };
        Ok(Registries { mirrors, insecure, proxies, certs_d: Some(directory.join("certs.d")), ..Registries::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registries(json: &str) -> Result<Registries, String> {
        let config: Config = serde_json::from_str(json).map_err(|e| e.to_string())?;
        config.registries(Path::new("/etc/rdock"))
    }

    #[test]
    fn dockers_keys_are_understood() {
        let told = registries(
            r#"{"registry-mirrors": ["https://m.example/", "http://m.lan:5000"], "insecure-registries": ["r.lan:1"],
                "proxies": {"https-proxy": "http://p.lan:3128", "no-proxy": "lan"}}"#,
        )
        .unwrap();
        let mirrors: Vec<_> = told.mirrors.iter().map(|m| m.url.as_str()).collect();
        assert_eq!(mirrors, ["https://m.example/", "http://m.lan:5000"]);
        assert_eq!(told.insecure, Insecure::parse(&["r.lan:1", "m.lan:5000"]).unwrap());
        assert_eq!(told.proxies.https.as_deref(), Some("http://p.lan:3128"));
        assert_eq!(told.certs_d.as_deref(), Some(Path::new("/etc/rdock/certs.d")));
    }

    #[test]
    fn layers_have_a_bound_that_can_be_moved() {
        let config: Config = serde_json::from_str(r#"{"max-layer-size": 1000}"#).unwrap();
        assert_eq!((config.max_layer_size(), Config::default().max_layer_size()), (1000, 64 << 30));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for wrong in [
            r#"{"registry-mirrors": ["mirror.example"]}"#,
            r#"{"registry-mirrors": ["https://mirror.example/path"]}"#,
            r#"{"insecure-registries": ["http://r.lan"]}"#,
            r#"{"registry-miror": []}"#,
        ] {
            assert!(registries(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_usual_file_need_not_be_there_and_the_named_one_must() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Config::read(None, dir.path()).is_ok());
        assert!(Config::read(Some(&dir.path().join("mine.json")), dir.path()).is_err());
        std::fs::write(dir.path().join("daemon.json"), r#"{"hub-listen": "127.0.0.1:5"}"#).unwrap();
        assert_eq!(Config::read(None, dir.path()).unwrap().hub_listen.as_deref(), Some("127.0.0.1:5"));
    }
}
