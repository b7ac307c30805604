//! `rdock hub …`: the lab hub in its owner's hands, in this process.

use super::Home;
use crate::cli::error::Failure;
use crate::cli::hub::{Add, Line, List, Serve, Task};
use crate::client::credentials::{Keyring, server_of};
use crate::content::Store;
use crate::daemon::config::Config;
use crate::daemon::routes::auth;
use crate::daemon::serve::asked_to_end;
use crate::oci::{Reference, platform};
use crate::registry::client::Client;
use crate::registry::lab_images::Catalog;
use crate::registry::server::{Hub, Limits, Options, Origin, Push, Shelf, ShelfError, Source, Stored, View};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Does what the command says.
pub fn run(task: Task<'_>) -> Result<Vec<Line>, Failure> {
    let home = Home::from_env();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::new)?;
    let root = |given: &Option<PathBuf>| given.clone().unwrap_or_else(|| home.data.join("hub"));
    match task {
        Task::Serve(args) => runtime.block_on(serve(args, &root(&args.root))).map(|()| Vec::new()),
        Task::Add(args) => runtime.block_on(add(args, &root(&args.root), &home)),
        Task::List(args) => list(args, &root(&args.root)),
        Task::Remove { image, root: given } => remove(image, &root(given)),
    }
}

async fn serve(args: &Serve, root: &Path) -> Result<(), Failure> {
    let catalog = Catalog::embedded().map_err(Failure::new)?;
    let push = match (args.read_only, args.allow_remote_push) {
        (true, _) => Push::Nobody,
        (false, true) => Push::Everybody,
        (false, false) => Push::ThisMachine,
    };
    let limits = Limits { space: args.max_size, ..Limits::default() };
    let options = Options { catalog: Some(Arc::new(catalog)), view: View::All, push, limits, ..Options::default() };
    let hub = Hub::open(root, args.listen, options).await.map_err(Failure::new)?;
    crate::cli::tell(format!("the lab hub listens on {}", hub.url()));
    if let Some(notice) = notice(hub.addr(), push) {
        crate::cli::tell(notice);
    }
    asked_to_end().await;
    Ok(())
}

/// What the owner of a hub that others can reach must know.
fn notice(addr: SocketAddr, push: Push) -> Option<String> {
    if addr.ip().is_loopback() {
        return None;
    }
    let pushing = match push {
        Push::Nobody => "nobody can push",
        Push::ThisMachine => "only this machine can push",
        Push::Everybody => "everybody who reaches it can push",
    };
    Some(format!("everybody who reaches {addr} can pull from it, without a password and without encryption; {pushing}"))
}

async fn add(args: &Add, root: &Path, home: &Home) -> Result<Vec<Line>, Failure> {
    let content = home.data.join("content");
    let from = Reference::parse(&args.image).map_err(Failure::new)?.with_default_tag();
    let name = match &args.name {
        Some(name) => Reference::parse(name).map_err(Failure::new)?.with_default_tag(),
        None => from.clone(),
    };
    let shelf = Shelf::open(root).map_err(Failure::new)?;
    let local = if args.pull || !content.exists() { None } else { Some(Store::open(&content).map_err(Failure::new)?) };
    let here = local.as_ref().and_then(|store| Some((store, store.resolve(&from.canonical()).ok()??)));
    let added = match here {
        Some((store, descriptor)) => {
            let digest = (&descriptor.digest().clone()).try_into().map_err(Failure::new)?;
            let bytes = store.read(&digest).map_err(Failure::new)?;
            crate::cli::tell(format!("{} is on this host", from.familiar()));
            shelf.add(&name, (&descriptor, &bytes), &Source::Local(store), args.all_platforms).await
        }
        None => {
            let client = client(home, &from)?;
            let found = client.manifest(&from).await.map_err(Failure::new)?;
            crate::cli::tell(format!("{} comes from {}", from.familiar(), found.source.url()));
            let source = Source::Registry { client: &client, reference: &from, place: found.source.clone() };
            shelf.add(&name, (&found.descriptor, &found.bytes), &source, args.all_platforms).await
        }
    };
    let added = added.map_err(|error| match &error {
        ShelfError::NoTag(_) => Failure::new(&error),
        _ => Failure::new(format!("cannot add {}: {error}", from.familiar())),
    })?;
    let line = Line {
        repository: added.name,
        digest: added.digest.to_string(),
        size: added.new.1,
        origin: format!("{} new blobs for {}", added.new.0, platform::Platform::host()),
        ..Line::default()
    };
    Ok(vec![line])
}

/// As the daemon reaches registries (`daemon.json`, `certs.d`, proxies), with what the owner has for this one.
fn client(home: &Home, from: &Reference) -> Result<Client, Failure> {
    let config = Config::read(None, &home.config).and_then(|config| config.registries(&home.config));
    let mut config = config.map_err(Failure::new)?;
    let kept = Keyring::open(&super::credentials(&home.config)).and_then(|keys| keys.of(server_of(from.domain())));
    if let Some(who) = kept.map_err(Failure::new)?.as_ref().and_then(auth::credentials) {
        config.credentials.insert(from.domain().to_owned(), who);
    }
    Ok(Client::new(config))
}

fn list(_: &List, root: &Path) -> Result<Vec<Line>, Failure> {
    let catalog = Catalog::embedded().map_err(Failure::new)?;
    let stored = Shelf::open(root).map_err(Failure::new)?.list(&catalog).map_err(Failure::new)?;
    Ok(stored.into_iter().map(line).collect())
}

fn line(stored: Stored) -> Line {
    Line {
        repository: stored.repository,
        tag: stored.tag,
        digest: stored.digest.map(|d| d.to_string()).unwrap_or_default(),
        size: stored.size,
        origin: match stored.origin {
            Origin::Lab => "lab".into(),
            Origin::Added => "added".into(),
            Origin::Pushed => "pushed".into(),
        },
    }
}

fn remove(image: &str, root: &Path) -> Result<Vec<Line>, Failure> {
    let repository = Shelf::open(root).map_err(Failure::new)?.remove(image).map_err(Failure::new)?;
    Ok(vec![Line { repository, ..Line::default() }])
}
