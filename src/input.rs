//! Inputs as `--input` names them: pictures, `.npy` arrays, seeded random numbers, zeros.

use crate::import;
use crate::render::Failure;
use crate::store::Model;
use ir::diag::Class;
use ir::{Diagnostic, Place};
use runtime::host::preprocess::Recipe;
use runtime::host::{Error, Kind, MAX_FILE_BYTES, image};
use std::path::Path;

/// The input that `spec` names, f32[channels, height, width].
pub fn read(spec: &str, model: &Model, dims: [u64; 3]) -> Result<Vec<f32>, Failure> {
    let elements = dims.iter().product::<u64>() as usize;
    if spec == "zeros" {
        return Ok(vec![0.0; elements]);
    }
    if let Some(seed) = spec.strip_prefix("random").filter(|s| s.is_empty() || s.starts_with(':')) {
        let seed = seed.strip_prefix(':').unwrap_or("0");
        let seed = seed
            .parse()
            .map_err(|_| Diagnostic::error("E0811", format!("'{seed}' is no seed")).help("give a number: random:7"))?;
        return Ok(random(seed, elements));
    }
    let path = Path::new(spec);
    if path.extension().is_some_and(|e| e == "npy") {
        let array = import::npy::read(path)?;
        if array.data.len() != elements {
            let text = format!("the array has {} elements, the model takes {elements}", array.data.len());
            return Err(Failure::from(Diagnostic::error("E0811", text).help("give one image in the model's layout"))
                .in_file(path));
        }
        return Ok(array.data.into_iter().map(|v| v as f32).collect());
    }
    // Whether pictures can be taken at all comes before the picture.
    with_recipe(model, dims, |_| ()).map_err(|d| Failure { diagnostics: d.into(), sources: model.sources.clone() })?;
    let bytes = import::read_file(path, MAX_FILE_BYTES)?;
    let picture = |e: Error| Failure::from(diagnostic(e)).in_file(path);
    let decoded = image::decode(&bytes).map_err(picture)?;
    let mut x = vec![0.0; elements];
    with_recipe(model, dims, |recipe| recipe.apply(&decoded, &mut x)).map_err(|d| Failure::from(d).in_file(path))?;
    Ok(x)
}

/// Numbers in −1..1, the same on every machine.
pub fn random(seed: u64, elements: usize) -> Vec<f32> {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..elements).map(|_| (rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// Calls `f` with what the model does to a picture.
fn with_recipe(model: &Model, dims: [u64; 3], f: impl FnOnce(&Recipe)) -> Result<(), Diagnostic> {
    let unsupported = |text: &str| Diagnostic::error("E0812", text).class(Class::Unsupported);
    let Some(p) = &model.graph.info.preprocess else {
        let help = "give --preprocess, or a .npy input";
        return Err(unsupported("the model does not say how a picture becomes its input").help(help));
    };
    let [3, height, width] = dims else {
        return Err(
            unsupported("pictures have three channels, this model's input has others").help("give a .npy input")
        );
    };
    let mean_tensor = model.mean_picture();
    let three = |v: &[f32], rest: f32| std::array::from_fn(|i| v.get(i).copied().unwrap_or(rest));
    f(&Recipe {
        resize: p.resize.map(|s| s as usize),
        width: width as usize,
        height: height as usize,
        bgr: p.bgr,
        scale: p.scale,
        mean: three(&p.mean, 0.0),
        std: three(&p.std, 1.0),
        mean_tensor: mean_tensor.as_deref(),
    });
    Ok(())
}

/// An error of the host side as a diagnostic.
pub fn diagnostic(e: Error) -> Diagnostic {
    let (code, class) = match e.kind {
        Kind::Limit => ("E0902", Class::Limit),
        Kind::Unsupported | Kind::Model => ("E0903", Class::Unsupported),
        Kind::Usage | Kind::Read | Kind::Write | Kind::Invalid => ("E0901", Class::Invalid),
    };
    let mut d = Diagnostic::error(code, e.what).class(class);
    if let Some(at) = e.at {
        d = d.at(Place::Byte(at), "");
    }
    d.help(e.help.unwrap_or_else(|| "give a JPEG, PNG or PPM picture, or a .npy array".into()))
}
