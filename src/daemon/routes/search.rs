//! `/images/search`: what registries have, filtered as Docker filters it.

use super::query::{Params, filters, text};
use crate::daemon::Engine;
use crate::daemon::answer::{Answer, Refusal, json};
use crate::oci::Reference;
use crate::registry::client::SearchResult;
use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use http::StatusCode;
use serde_json::{Value, json};
use std::collections::HashMap;

/// As many as are asked for when nobody says how many.
const USUAL: i64 = 25;

pub fn routes() -> Router<Engine> {
    Router::new().route("/images/search", get(search))
}

async fn search(State(engine): State<Engine>, Query(params): Query<Params>) -> Answer {
    let wanted = Wanted::read(&filters(&params)?)?;
    let limit = limit(text(&params, "limit"))?;
    let (domain, term) = place(text(&params, "term").unwrap_or_default())?;
    let found = engine.sources.search(&domain, &term, limit).await?;
    let lines: Vec<Value> = found.iter().filter(|r| wanted.takes(r)).map(line).collect();
    Ok(json(StatusCode::OK, &lines))
}

fn limit(text: Option<&str>) -> Result<usize, Refusal> {
    let limit = text.map_or(Ok(0), str::parse::<i64>).map_err(|_| Refusal::bad("invalid limit specified"))?;
    match if limit == 0 { USUAL } else { limit } {
        n @ 1..=100 => Ok(n as usize),
        n => Err(Refusal::bad(format!("limit {n} is outside the range of [1, 100]"))),
    }
}

/// The registry to ask, and for what: `mysql` of Docker Hub, `127.0.0.1:5050/me` of the one there.
fn place(term: &str) -> Result<(String, String), Refusal> {
    if term.contains("://") {
        return Err(Refusal::bad(format!(
            "invalid repository name ({term}): repository name should not contain a scheme"
        )));
    }
    let first = term.split('/').next().unwrap_or_default();
    match Reference::parse(&format!("{first}/x")) {
        Ok(reference) if term.contains('/') && reference.domain() == first => {
            Ok((first.to_owned(), term[first.len() + 1..].to_owned()))
        }
        _ => Ok((crate::oci::DOCKER_DOMAIN.to_owned(), term.strip_prefix("library/").unwrap_or(term).to_owned())),
    }
}

/// The filters.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    stars: i64,
    official: Option<bool>,
    /// Nothing is called automated any more.
    automated: bool,
}

impl Wanted {
    fn read(filters: &HashMap<String, Vec<String>>) -> Result<Wanted, Refusal> {
        let mut wanted = Wanted::default();
        for (key, values) in filters {
            match key.as_str() {
                "stars" => {
                    for value in values {
                        let stars = value.parse::<i64>().map_err(|_| {
                            let cause = format!("strconv.Atoi: parsing {value:?}: invalid syntax");
                            Refusal::bad(format!("invalid filter 'stars={value}': {cause}"))
                        })?;
                        wanted.stars = wanted.stars.max(stars);
                    }
                }
                "is-official" => wanted.official = Some(boolean(key, values)?),
                "is-automated" => wanted.automated = boolean(key, values)?,
                other => return Err(Refusal::bad(format!("invalid filter '{other}'"))),
            }
        }
        Ok(wanted)
    }

    fn takes(&self, result: &SearchResult) -> bool {
        result.star_count >= self.stars
            && self.official.is_none_or(|wanted| wanted == result.is_official)
            && !self.automated
    }
}

fn boolean(key: &str, values: &[String]) -> Result<bool, Refusal> {
    match values {
        [value] if matches!(value.as_str(), "true" | "1") => Ok(true),
        [value] if matches!(value.as_str(), "false" | "0") => Ok(false),
        _ => Err(Refusal::bad(format!("invalid filter '{key}=[{}]'", values.join(" ")))),
    }
}

/// In the order of Docker's fields.
fn line(result: &SearchResult) -> Value {
    json!({
        "star_count": result.star_count, "is_official": result.is_official, "name": result.name,
        "is_automated": false, "description": result.description,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(pairs: &[(&str, &str)]) -> Result<Wanted, String> {
        let filters = pairs.iter().map(|(k, v)| ((*k).to_owned(), vec![(*v).to_owned()])).collect();
        Wanted::read(&filters).map_err(|r| r.message)
    }

    #[test]
    fn filters_choose_as_dockers_do() {
        let result = |stars, official| SearchResult {
            name: "x".into(),
            description: String::new(),
            star_count: stars,
            is_official: official,
            is_automated: false,
        };
        let stars = wanted(&[("stars", "3000")]).unwrap();
        assert!(stars.takes(&result(3000, false)) && !stars.takes(&result(2999, true)));
        let official = wanted(&[("is-official", "true")]).unwrap();
        assert!(official.takes(&result(0, true)) && !official.takes(&result(9, false)));
        assert!(!wanted(&[("is-automated", "true")]).unwrap().takes(&result(9, true)));
        assert_eq!(wanted(&[("start", "1")]), Err("invalid filter 'start'".into()));
        assert_eq!(wanted(&[("is-official", "maybe")]), Err("invalid filter 'is-official=[maybe]'".into()));
        assert!(wanted(&[("stars", "many")]).unwrap_err().starts_with("invalid filter 'stars=many': "));
    }

    #[test]
    fn a_term_may_name_its_registry() {
        let asked = |term: &str| place(term).map_err(|r| r.message).unwrap();
        let docker = |term: &str| ("docker.io".to_owned(), term.to_owned());
        assert_eq!(asked("mysql"), docker("mysql"));
        assert_eq!(asked("library/mysql"), docker("mysql"));
        assert_eq!(asked("bitnami/mysql"), docker("bitnami/mysql"));
        assert_eq!(asked("127.0.0.1:5050/me/app"), ("127.0.0.1:5050".into(), "me/app".into()));
        assert_eq!(asked("localhost:5050/"), ("localhost:5050".into(), String::new()));
        assert!(place("https://docker.io/mysql").is_err());
    }

    #[test]
    fn limits_have_a_range() {
        assert_eq!((limit(None), limit(Some("0")), limit(Some("7"))), (Ok(25), Ok(25), Ok(7)));
        let refused = |text| limit(Some(text)).unwrap_err().message;
        assert_eq!(refused("101"), "limit 101 is outside the range of [1, 100]");
        assert_eq!(refused("-1"), "limit -1 is outside the range of [1, 100]");
        assert_eq!(refused("x"), "invalid limit specified");
    }
}
