//! `/v1/search`: the question that Docker's engine asks Docker Hub for `docker search`, and its answer.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::Served;
use super::View;
use super::answer::{self, Refusal};
use super::routes::Params;
use crate::registry::client::SearchResult;

/// As many as Docker Hub gives when nobody says how many.
const USUAL: usize = 25;
const MOST: usize = 100;

/// Names and descriptions that hold the term, those with most stars first.
pub(super) fn answer(hub: &Served, params: &Params) -> Result<Response, Refusal> {
    let query = params.get("q").unwrap_or_default();
    let mut found = results(hub, query)?;
    let (total, page) = (found.len(), params.number("n").unwrap_or(USUAL).clamp(1, MOST));
    let first = params.number("page").unwrap_or(1).max(1).saturating_sub(1).saturating_mul(page);
    found = found.into_iter().skip(first).take(page).collect();
    let pages = total.div_ceil(page);
    let body = json!({"num_pages": pages, "num_results": total, "page": first / page + 1, "page_size": page,
                      "query": query, "results": found});
    Ok(answer::marked(Json(body).into_response()))
}

fn results(hub: &Served, query: &str) -> Result<Vec<SearchResult>, Refusal> {
    let term = query.trim().to_lowercase();
    let mut found: Vec<SearchResult> = Vec::new();
    let recipes = hub.catalog.iter().flat_map(|c| c.recipes());
    for recipe in recipes {
        if found_by(&found, recipe.image()) {
            continue;
        }
        found.push(SearchResult {
            name: recipe.image().to_owned(),
            description: recipe.description.clone(),
            star_count: recipe.stars,
            is_official: recipe.official,
            is_automated: false,
        });
    }
    let all = super::lists::repositories(hub)?;
    for path in all {
        let name = path.strip_prefix("library/").filter(|n| !n.contains('/')).unwrap_or(&path);
        if !found_by(&found, name) {
            let description = match hub.view {
                View::Mirror => "In this lab's hub",
                View::All => "Added or pushed to this hub",
            };
            found.push(SearchResult {
                name: name.to_owned(),
                description: description.to_owned(),
                star_count: 0,
                is_official: false,
                is_automated: false,
            });
        }
    }
    found.retain(|r| r.name.contains(&term) || r.description.to_lowercase().contains(&term));
    found.sort_by(|a, b| b.star_count.cmp(&a.star_count).then_with(|| a.name.cmp(&b.name)));
    Ok(found)
}

fn found_by(found: &[SearchResult], name: &str) -> bool {
    found.iter().any(|r| r.name == name)
}
