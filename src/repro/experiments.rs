//! Which networks an experiment trains, and how large they are at a scale.

use crate::builders::{Family, Spec};
use crate::train::settings::Length;
use ir::Diagnostics;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Name {
    /// Residual networks of 20 to 1202 layers: test errors
    Table6,
    /// Plain networks of 20 and 56 layers: the deeper one is worse
    Fig1,
    /// Plain and residual networks of 18 and 34 layers, with the stem for ImageNet, on CIFAR-10
    Fig4,
    /// Plain and residual networks of 20 to 110 layers, 110 beside 1202
    Fig6,
    /// Deviations of the responses of layers, plain and residual
    Fig7,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scale {
    /// 60 steps of narrow networks on 8x8 pixels: shows that everything works, and nothing else
    Tiny,
    /// 20 epochs of half as wide networks on 16x16 pixels, to 56 layers
    Short,
    /// The paper's: 64k steps on 32x32 pixels
    Full,
}

/// Networks whose curves stand in one panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub title: &'static str,
    pub networks: Vec<&'static str>,
}

impl Name {
    /// The groups whose networks `scale` has; each has at least one.
    pub fn groups(self, scale: Scale) -> Vec<Group> {
        let residual = ["cifar-resnet20", "cifar-resnet32", "cifar-resnet44", "cifar-resnet56", "cifar-resnet110"];
        let plain = ["cifar-plain20", "cifar-plain32", "cifar-plain44", "cifar-plain56", "cifar-plain110"];
        let all = |list: &[&'static str]| list.to_vec();
        let groups = match self {
            Name::Table6 => vec![("residual", [&residual[..], &["cifar-resnet1202"]].concat())],
            Name::Fig1 => vec![("plain", vec![plain[0], plain[3]])],
            Name::Fig4 => vec![("plain", all(&["plain18", "plain34"])), ("residual", all(&["resnet18", "resnet34"]))],
            Name::Fig6 => vec![
                ("plain", all(&plain)),
                ("residual", all(&residual)),
                ("110 and 1202 layers", all(&["cifar-resnet110", "cifar-resnet1202"])),
            ],
            Name::Fig7 => vec![("all", vec![plain[0], plain[3], residual[0], residual[3], residual[4]])],
        };
        let fits = |n: &&'static str| scale == Scale::Full || !(n.ends_with("110") || n.ends_with("1202"));
        let group = |(title, networks): (&'static str, Vec<&'static str>)| Group {
            title,
            networks: networks.into_iter().filter(|n| fits(n)).collect(),
        };
        groups.into_iter().map(group).filter(|g| !g.networks.is_empty()).collect()
    }
}

impl Scale {
    /// The network called `name` at this scale.
    pub fn spec(self, name: &str) -> Result<Spec, Diagnostics> {
        let mut spec = Spec::named(name, None)?;
        let is_imagenet = spec.family == Family::ImageNet;
        let (side, width) = match self {
            Scale::Tiny => (8, 4),
            // What is left of 16 pixels behind a stem for ImageNet is too little for four stages.
            Scale::Short if is_imagenet => (32, 16),
            Scale::Short => (16, 8),
            Scale::Full => (32, spec.width),
        };
        (spec.input, spec.width, spec.classes) = ([3, side, side], width, 10);
        Ok(spec)
    }

    /// Pictures of a step, and the length of a run.
    pub fn run(self) -> (u64, Length) {
        match self {
            Scale::Tiny => (20, Length::Iterations(60)),
            Scale::Short => (128, Length::Epochs(20)),
            Scale::Full => (128, Length::Iterations(64_000)),
        }
    }
}

/// The test error in percent that the paper reports for a network on CIFAR-10 (table 6). Those of 18 and 34 layers are
/// on ImageNet, and no figure for CIFAR-10.
pub fn paper(network: &str) -> Option<f64> {
    let found = [("20", 8.75), ("32", 7.51), ("44", 7.17), ("56", 6.97), ("110", 6.43), ("1202", 7.93)];
    let depth = network.strip_prefix("cifar-resnet")?;
    found.into_iter().find(|(d, _)| *d == depth).map(|(_, error)| error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builders::build;
    use clap::ValueEnum;

    #[test]
    fn every_network_of_every_experiment_can_be_built() {
        for name in Name::value_variants() {
            for scale in Scale::value_variants() {
                let groups = name.groups(*scale);
                assert!(!groups.is_empty());
                for network in groups.iter().flat_map(|g| &g.networks) {
                    build(&scale.spec(network).unwrap()).unwrap();
                }
            }
        }
        assert_eq!(Name::Fig6.groups(Scale::Full).iter().map(|g| g.networks.len()).collect::<Vec<_>>(), [5, 5, 2]);
        assert_eq!(Name::Fig6.groups(Scale::Short).iter().map(|g| g.networks.len()).collect::<Vec<_>>(), [4, 4]);
    }

    #[test]
    fn the_papers_errors() {
        assert_eq!((paper("cifar-resnet110"), paper("cifar-resnet20")), (Some(6.43), Some(8.75)));
        assert_eq!((paper("cifar-plain20"), paper("resnet18")), (None, None));
    }
}
