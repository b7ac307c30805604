//! Options about a container's life: health, restarts, stopping, logs.

use super::object;
use super::values;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Checks, restarts, the end, the log.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Life {
    /// Command to run to check health
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub health_cmd: String,
    /// Time between running the check (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", value_parser = values::duration, default_value = "0s", hide_default_value = true)]
    pub health_interval: i64,
    /// Consecutive failures needed to report unhealthy
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub health_retries: i64,
    /// Time between running the check during the start period (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", value_parser = values::duration, default_value = "0s", hide_default_value = true)]
    pub health_start_interval: i64,
    /// Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", value_parser = values::duration, default_value = "0s", hide_default_value = true)]
    pub health_start_period: i64,
    /// Maximum time to allow one check to run (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", value_parser = values::duration, default_value = "0s", hide_default_value = true)]
    pub health_timeout: i64,
    /// Logging driver for the container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub log_driver: String,
    /// Log driver options
    #[arg(long, value_name = "list")]
    pub log_opt: Vec<String>,
    /// Disable any container-specified HEALTHCHECK
    #[arg(long)]
    pub no_healthcheck: bool,
    /// Restart policy to apply when a container exits (default "no")
    #[arg(long, value_name = "string", default_value = "no", hide_default_value = true)]
    pub restart: String,
    /// Signal to stop the container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub stop_signal: String,
    /// Timeout (in seconds) to stop a container
    #[arg(long, value_name = "int", value_parser = values::int)]
    pub stop_timeout: Option<i64>,
}

impl Life {
    /// `Healthcheck`, where something was said.
    pub fn health(&self) -> Result<Option<Value>, String> {
        let numbers = [
            ("interval", self.health_interval),
            ("timeout", self.health_timeout),
            ("retries", self.health_retries),
            ("start-period", self.health_start_period),
            ("start-interval", self.health_start_interval),
        ];
        let said = !self.health_cmd.is_empty() || numbers.iter().any(|(_, n)| *n != 0);
        if self.no_healthcheck {
            if said {
                return Err("--no-healthcheck conflicts with --health-* options".into());
            }
            return Ok(Some(json!({"Test": ["NONE"]})));
        }
        if !said {
            return Ok(None);
        }
        if let Some((name, _)) = numbers.iter().find(|(_, n)| *n < 0) {
            return Err(format!("--health-{name} cannot be negative"));
        }
        let number = |n: i64| (n != 0).then(|| json!(n));
        Ok(Some(object([
            ("Test", (!self.health_cmd.is_empty()).then(|| json!(["CMD-SHELL", self.health_cmd]))),
            ("Interval", number(self.health_interval)),
            ("Timeout", number(self.health_timeout)),
            ("StartPeriod", number(self.health_start_period)),
            ("StartInterval", number(self.health_start_interval)),
            ("Retries", number(self.health_retries)),
        ])))
    }

    pub fn restart_policy(&self) -> Result<Value, String> {
        policy(&self.restart)
    }

    pub fn log(&self) -> Result<Value, String> {
        if self.log_driver == "none" && !self.log_opt.is_empty() {
            return Err("invalid logging opts for driver none".into());
        }
        Ok(json!({"Type": self.log_driver, "Config": map(&self.log_opt)}))
    }
}

/// `NAME[:MAXIMUM]` of a restart policy.
pub fn policy(said: &str) -> Result<Value, String> {
    let (name, count) = match said.split_once(':') {
        Some(("", _)) => return Err("invalid restart policy format: no policy provided before colon".into()),
        Some((name, count)) => (name, count),
        None => (said, "0"),
    };
    let count: i64 = count
        .parse()
        .map_err(|_| "invalid restart policy format: maximum retry count must be an integer".to_owned())?;
    Ok(json!({"Name": name, "MaximumRetryCount": count}))
}

/// `k=v` as a map, sorted as Go writes maps; a name alone has an empty value.
pub fn map(list: &[String]) -> BTreeMap<&str, &str> {
    list.iter().map(|entry| entry.split_once('=').unwrap_or((entry.as_str(), ""))).collect()
}
