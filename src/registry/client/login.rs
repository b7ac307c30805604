//! Whether a registry knows us: `GET /v2/` with what we have.

use http::StatusCode;
use serde_json::json;

use super::endpoint::Endpoint;
use super::error::RegistryError;
use super::exchange::{Answer, Ask, drain};
use super::{Client, Inner};
use crate::oci::Reference;

impl Client {
    /// Shows the registry of a domain what this client has for it. The identity token that it gives, if it does: to
    /// be kept instead of the password.
    ///
    /// # Errors
    /// [`RegistryError::Unauthorized`] and [`RegistryError::Login`] when it does not take them.
    pub async fn login(&self, domain: &str) -> Result<Option<String>, RegistryError> {
        // For error messages; no repository is asked for.
        let reference = Reference::parse(&format!("{domain}/login"))
            .map_err(|e| RegistryError::BadAnswer { url: domain.to_owned(), cause: e.to_string() })?;
        let endpoint = self.inner.home(&reference).await?;
        self.inner.base(&reference, &endpoint, Purpose::Login).await
    }
}

/// Why `/v2/` is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Login,
    /// How an insecure registry speaks.
    Speech,
    /// Whether there is a registry at all.
    Push,
}

impl Inner {
    /// `GET /v2/`. Without a login every answer is one, also a demand for a token.
    pub(super) async fn base(
        &self,
        reference: &Reference,
        endpoint: &Endpoint,
        purpose: Purpose,
    ) -> Result<Option<String>, RegistryError> {
        let why = match purpose {
            Purpose::Login => "whoever may see /v2/ is known to the registry",
            Purpose::Speech => "an insecure registry may speak TLS or not: the first that answers is taken",
            Purpose::Push => "before anything is made ready: is there a registry?",
        };
        let login = purpose == Purpose::Login;
        let ask = Ask {
            url: format!("{}/v2/", endpoint.url()),
            scopes: Vec::new(),
            login,
            ..Ask::get("registry.base.get", why, endpoint, reference, "")
        };
        if !login {
            let Answer { step, response, .. } = self.ask_once(&ask).await?;
            let status = response.status().as_u16();
            step.ok(json!({"status": status}), || format!("{status}, there is a registry"));
            drain(response).await;
            return Ok(None);
        }
        let Answer { step, response, url, identity } = self.ask(&ask).await?;
        let status = response.status();
        drain(response).await;
        if status == StatusCode::OK {
            step.ok(json!({"status": 200}), || "200, we are known there".to_owned());
            return Ok(identity);
        }
        let text = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
        let error = RegistryError::Login { url, status: text.trim_end().to_owned() };
        step.fail(error.code(), &error, || error.to_string());
        Err(error)
    }
}
