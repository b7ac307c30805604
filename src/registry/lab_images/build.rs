//! Making an image and putting it into the hub's content store.
//!
//! Blobs first, then the name: whoever sees the name sees the whole image. A build that is killed leaves at
//! most blobs without a name, which the next build, being the same, takes up again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use oci_spec::image::{Descriptor, MediaType};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::catalog::Shelf;
use super::host::Host;
use super::inputs::Inputs;
use super::pack::{PACKING, Packed, pack};
use super::plan::{LeftOut, Plan, plan};
use super::recipe::Recipe;
use super::{Catalog, LabError};
use crate::content::Store;
use crate::oci::platform::Platform;
use crate::oci::{Digest, media};
use crate::registry::hub_lock;
use crate::registry::server::was_added;
use crate::trace::{self, Actor};

/// An image that is in the store now.
#[derive(Debug, Clone)]
pub struct Built {
    /// Of the image index.
    pub descriptor: Descriptor,
    /// False: it was there already, and nothing that it is made from has changed.
    pub fresh: bool,
    /// Files, directories and links of all layers.
    pub entries: usize,
    /// Bytes of the compressed layers.
    pub bytes: u64,
    /// Bytes of the files before compression.
    pub content: u64,
    pub left_out: Vec<LeftOut>,
    pub took: Duration,
}

/// A packed layer that is in the store.
struct Layer {
    /// Of the gzip: the blob's name.
    digest: Digest,
    /// Bytes of the gzip.
    size: u64,
    packed: Packed,
}

/// What is kept beside the store about an image: what it was made from and what came out.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    /// Of the recipe and the files beside it.
    recipe: Digest,
    /// Which way of planning and packing it was: the version of rdock and [`PACKING`].
    rdock: String,
    /// The index.
    index: Digest,
    index_size: u64,
    /// All that the image consists of.
    blobs: Vec<Digest>,
    entries: usize,
    bytes: u64,
    content: u64,
    left_out: Vec<LeftOut>,
    inputs: Inputs,
}

/// Makes the image `name` (`centos` or `library/centos`) under all its tags, unless `store` has it and
/// neither the recipe nor a file of the host that it is made from has changed. Several processes may ask
/// at once: one makes it, the others wait.
pub fn ensure(store: &Store, catalog: &Catalog, name: &str) -> Result<Built, LabError> {
    let started = Instant::now();
    let shelf = catalog.shelf(name).ok_or_else(|| LabError::NoSuchImage(name.to_owned()))?;
    let dir = store.root().join("lab");
    if let Some(state) = current(store, shelf, &catalog.host, &dir) {
        return Ok(built(&state, false, started));
    }
    let image = &shelf.recipe.name;
    let at = |path: PathBuf| move |source| LabError::State { image: image.clone(), path, source };
    fs::create_dir_all(&dir).map_err(at(dir.clone()))?;
    let lock_path = dir.join(format!("{image}.lock"));
    let lock =
        File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(at(lock_path.clone()))?;
    lock.lock().map_err(at(lock_path))?; // released when it is dropped, and when the process dies
    if let Some(state) = current(store, shelf, &catalog.host, &dir) {
        return Ok(built(&state, false, started));
    }
    let _filling = hub_lock::fill(store.root()).map_err(at(store.root().to_owned()))?;
    let step = trace::step(Actor::Registry, "lab.images")
        .why("the lab hub makes its images on this machine, so that nothing must be downloaded")
        .arg("image", image);
    match make(store, shelf, &catalog.host, &dir) {
        Ok(state) => {
            let built = built(&state, true, started);
            step.ok(report(&state, &built), || summary(image, &shelf.recipe, &built));
            Ok(built)
        }
        Err(error) => {
            step.fail(error.errno(), &error, || format!("cannot make the lab image {image}"));
            Err(error)
        }
    }
}

/// The state on disk, if it is still true: same recipe, same host files, every blob there, every tag set.
fn current(store: &Store, shelf: &Shelf, host: &Host, dir: &Path) -> Option<State> {
    let text = fs::read(state_path(dir, &shelf.recipe)).ok()?;
    let state: State = serde_json::from_slice(&text).ok()?;
    let ours = |d: &Descriptor| d.digest().as_ref() == state.index.as_str() || was_added(d);
    let tagged = |name: String| matches!(store.resolve(&name), Ok(Some(d)) if ours(&d));
    let same = state.rdock == way()
        && state.recipe == shelf.digest()
        && shelf.recipe.references().all(tagged)
        && state.blobs.iter().all(|blob| store.has(blob))
        && state.inputs.still_true(host);
    same.then_some(state)
}

fn make(store: &Store, shelf: &Shelf, host: &Host, dir: &Path) -> Result<State, LabError> {
    let recipe = &shelf.recipe;
    let plan = plan(recipe, &|name| shelf.beside(name), host)?;
    let layers = pack_layers(store, recipe, &plan)?;
    let platform = Platform::host();
    let put = |value: &Value| put_json(store, recipe, value);
    let config = put(&config(recipe, &plan, &layers, &platform))?;
    let manifest = put(&manifest(recipe, &layers, &config))?;
    let index = put(&index(recipe, &manifest, &platform))?;

    let descriptor = index_descriptor(&index.0, index.1);
    for name in recipe.references() {
        let in_store = |source| LabError::Store { image: recipe.name.clone(), source };
        if store.resolve(&name).map_err(in_store)?.is_some_and(|d| was_added(&d)) {
            continue; // The hub's owner put another image there.
        }
        store.tag(&name, &descriptor).map_err(in_store)?;
    }
    let mut blobs: Vec<Digest> = layers.iter().map(|l| l.digest.clone()).collect();
    blobs.extend([config.0, manifest.0, index.0.clone()]);
    let state = State {
        recipe: shelf.digest(),
        rdock: way(),
        index: index.0,
        index_size: index.1,
        blobs,
        entries: layers.iter().map(|l| l.packed.entries).sum(),
        bytes: layers.iter().map(|l| l.size).sum(),
        content: layers.iter().map(|l| l.packed.content).sum(),
        left_out: plan.left_out,
        inputs: plan.inputs,
    };
    let path = state_path(dir, recipe);
    write_state(dir, &path, &state).map_err(|source| LabError::State { image: recipe.name.clone(), path, source })?;
    Ok(state)
}

/// All layers at once, each in a thread of its own: compressing is most of the work.
fn pack_layers(store: &Store, recipe: &Recipe, plan: &Plan) -> Result<Vec<Layer>, LabError> {
    let modified = recipe.created_unix();
    let one = |at: usize| -> Result<Layer, LabError> {
        let in_layer = |source| LabError::Layer { image: recipe.name.clone(), layer: at + 1, source };
        let in_store = |source| LabError::Store { image: recipe.name.clone(), source };
        let writer = store.writer().map_err(in_store)?;
        let (packed, writer) = pack(&plan.layers[at], modified, writer).map_err(in_layer)?;
        let (digest, size) = writer.seal().map_err(in_store)?;
        Ok(Layer { digest, size, packed })
    };
    thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..plan.layers.len()).map(|at| scope.spawn(move || one(at))).collect();
        let died = |at| LabError::Layer {
            image: recipe.name.clone(),
            layer: at + 1,
            source: io::Error::other("the thread that packs it died"),
        };
        threads.into_iter().enumerate().map(|(at, t)| t.join().unwrap_or_else(|_| Err(died(at)))).collect()
    })
}

/// The image config (image-spec, config.md). Keys in a fixed order, so that its digest is the same each time.
fn config(recipe: &Recipe, plan: &Plan, layers: &[Layer], platform: &Platform) -> Value {
    let mut started = json!({});
    let mut set = |key: &str, value: Value| started[key] = value;
    set("Env", json!(recipe.env));
    if let Some(entrypoint) = &recipe.entrypoint {
        set("Entrypoint", json!(entrypoint));
    }
    if let Some(cmd) = &recipe.cmd {
        set("Cmd", json!(cmd));
    }
    let keys = |names: &[String]| names.iter().map(|n| (n.clone(), json!({}))).collect::<serde_json::Map<_, _>>();
    if !recipe.expose.is_empty() {
        set("ExposedPorts", json!(keys(&recipe.expose)));
    }
    if !recipe.volumes.is_empty() {
        set("Volumes", json!(keys(&recipe.volumes)));
    }
    if let Some(dir) = &recipe.workdir {
        set("WorkingDir", json!(dir));
    }
    if let Some(signal) = &recipe.stop_signal {
        set("StopSignal", json!(signal));
    }
    set("Labels", json!(recipe.labels));
    let mut history: Vec<Value> = plan
        .layers
        .iter()
        .map(|l| json!({"created": recipe.created, "created_by": l.comment, "comment": "rdock lab"}))
        .collect();
    if let Some(cmd) = &recipe.cmd {
        let cmd = format!("CMD {}", json!(cmd));
        history
            .push(json!({"created": recipe.created, "created_by": cmd, "comment": "rdock lab", "empty_layer": true}));
    }
    let mut config = json!({"created": recipe.created, "architecture": platform.architecture});
    if let Some(variant) = &platform.variant {
        config["variant"] = json!(variant);
    }
    config["os"] = json!(platform.os);
    config["config"] = started;
    config["rootfs"] =
        json!({"type": "layers", "diff_ids": layers.iter().map(|l| &l.packed.diff_id).collect::<Vec<_>>()});
    config["history"] = json!(history);
    config
}

fn manifest(recipe: &Recipe, layers: &[Layer], config: &(Digest, u64)) -> Value {
    let layer = |l: &Layer| json!({"mediaType": media::OCI_LAYER_GZIP, "digest": l.digest, "size": l.size});
    json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "config": {"mediaType": media::OCI_CONFIG, "digest": config.0, "size": config.1},
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
        "annotations": {"org.opencontainers.image.created": recipe.created},
    })
}

fn index(recipe: &Recipe, manifest: &(Digest, u64), platform: &Platform) -> Value {
    let mut on = json!({"architecture": platform.architecture, "os": platform.os});
    if let Some(variant) = &platform.variant {
        on["variant"] = json!(variant);
    }
    json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_INDEX,
        "manifests": [{"mediaType": media::OCI_MANIFEST, "digest": manifest.0, "size": manifest.1, "platform": on}],
        "annotations": {"org.opencontainers.image.description": recipe.description},
    })
}

fn put_json(store: &Store, recipe: &Recipe, value: &Value) -> Result<(Digest, u64), LabError> {
    let bytes = value.to_string().into_bytes();
    let digest = store.put(&bytes).map_err(|source| LabError::Store { image: recipe.name.clone(), source })?;
    Ok((digest, bytes.len() as u64))
}

fn index_descriptor(digest: &Digest, size: u64) -> Descriptor {
    Descriptor::new(MediaType::ImageIndex, size, digest)
}

fn way() -> String {
    format!("{} packing {PACKING}", env!("CARGO_PKG_VERSION"))
}

fn state_path(dir: &Path, recipe: &Recipe) -> PathBuf {
    dir.join(format!("{}.json", recipe.name))
}

/// Written last and whole: without it the image is made again, which is right and costs a second.
fn write_state(dir: &Path, path: &Path, state: &State) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&serde_json::to_vec_pretty(state)?)?;
    file.persist(path)?;
    Ok(())
}

fn built(state: &State, fresh: bool, started: Instant) -> Built {
    Built {
        descriptor: index_descriptor(&state.index, state.index_size),
        fresh,
        entries: state.entries,
        bytes: state.bytes,
        content: state.content,
        left_out: state.left_out.clone(),
        took: started.elapsed(),
    }
}

fn report(state: &State, built: &Built) -> Value {
    json!({
        "digest": state.index,
        "files": built.entries,
        "bytes": built.bytes,
        "content": built.content,
        "took_ms": built.took.as_millis() as u64,
        "left_out": built.left_out,
    })
}

fn summary(image: &str, recipe: &Recipe, built: &Built) -> String {
    let layers = match recipe.layers.len() {
        1 => "1 layer".to_owned(),
        n => format!("{n} layers"),
    };
    let (files, ms) = (built.entries, built.took.as_millis());
    let size = match built.bytes {
        b if b < 1_000_000 => format!("{:.1} kB", b as f64 / 1e3),
        b => format!("{:.1} MB", b as f64 / 1e6),
    };
    let known = |l: &&LeftOut| !l.packages.is_empty();
    let without: Vec<&str> = built.left_out.iter().filter(known).map(|l| l.name.as_str()).collect();
    let without = match without.is_empty() {
        true => String::new(),
        false => format!(", without {}", without.join(" ")),
    };
    let files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
    format!("makes the lab image {image} on this host: {layers}, {files}, {size} in {ms} ms{without}")
}
