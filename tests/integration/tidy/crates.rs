//! Rules for the manifests: which crate may depend on which, and that all share lints and versions.
//!
//! **Does not** know all of TOML: manifests here keep one key to a line, which the rules insist on
//! by finding nothing else.

/// Who may not depend on what. `optional` means: only as an optional dependency behind a feature.
struct Layer {
    manifest: &'static str,
    never: &'static [&'static str],
    optional: &'static [&'static str],
}

const LAYERS: &[Layer] = &[
    Layer {
        manifest: "protocol/Cargo.toml",
        never: &["tokio", "nix", "rocksdb", "memod-store", "memod-client", "tracing"],
        optional: &["tokio-util", "serde", "serde_json", "jiff", "data-encoding"],
    },
    Layer {
        manifest: "protocol/descriptors/Cargo.toml",
        never: &["tokio", "rocksdb", "bincode", "memod-store", "memod-client", "memod", "bytes"],
        optional: &[],
    },
    Layer {
        manifest: "daemon/store/Cargo.toml",
        never: &["tokio", "tokio-util", "memod", "memod-client", "clap", "anyhow"],
        optional: &[],
    },
    Layer {
        manifest: "daemon/Cargo.toml",
        never: &["rocksdb", "librocksdb-sys", "bincode", "memod-client"],
        optional: &[],
    },
    Layer {
        manifest: "client/lib/Cargo.toml",
        never: &["rocksdb", "bincode", "memod-store", "memod", "serde", "clap", "anyhow"],
        optional: &["tokio", "tokio-util", "memod-macros"],
    },
    Layer {
        manifest: "client/macros/Cargo.toml",
        never: &["memod-protocol", "memod-client", "memod-store", "memod", "tokio", "nix", "serde"],
        optional: &[],
    },
    Layer {
        manifest: "client/cli/Cargo.toml",
        never: &["rocksdb", "bincode", "memod-store", "memod", "tokio", "tokio-util"],
        optional: &[],
    },
    Layer {
        manifest: "tests/Cargo.toml",
        never: &["rocksdb", "bincode", "memod-store", "memod"],
        optional: &[],
    },
    Layer {
        manifest: "tests/faults/Cargo.toml",
        never: &["rocksdb", "bincode", "memod-store", "memod", "nix", "tokio"],
        optional: &[],
    },
];

/// The folders of the workspace's crates, from the root manifest.
pub(super) fn members(root: &str) -> Vec<String> {
    let Some((_, rest)) = root.split_once("members = [") else { return Vec::new() };
    let list = rest.split(']').next().unwrap_or_default();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Everything that is wrong with one manifest of the workspace.
pub(super) fn problems(path: &str, manifest: &str) -> Vec<String> {
    let mut found = dependencies(path, manifest);
    if section(manifest, "[lints]").collect::<String>() != "workspace = true" {
        found.push("a crate inherits the workspace's lints".to_owned());
    }
    for key in ["version", "edition", "rust-version", "license"] {
        if !section(manifest, "[package]").any(|line| line == format!("{key}.workspace = true")) {
            found.push(format!("`{key}` comes from the workspace"));
        }
    }
    found.into_iter().map(|problem| format!("{path}: {problem}")).collect()
}

fn dependencies(path: &str, manifest: &str) -> Vec<String> {
    let Some(layer) = LAYERS.iter().find(|layer| layer.manifest == path) else {
        return vec!["tests/integration/tidy/crates.rs does not say its layer".to_owned()];
    };
    let mut found = Vec::new();
    for heading in ["[dependencies]", "[build-dependencies]"] {
        for line in section(manifest, heading) {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if layer.never.contains(&name) {
                found.push(format!("must not depend on {name}"));
            }
            if layer.optional.contains(&name) && !line.contains("optional = true") {
                found.push(format!("may depend on {name} only behind a feature"));
            }
        }
    }
    // A table of its own would hide a dependency from the loop above.
    for line in manifest.lines().filter(|line| line.starts_with('[')) {
        if line.contains("dependencies.") || line.starts_with("[target") {
            found.push(format!("{line}: dependencies stand in one list"));
        }
    }
    found
}

/// The lines of a section, without blank ones and comments.
fn section<'a>(manifest: &'a str, heading: &'a str) -> impl Iterator<Item = &'a str> {
    manifest
        .lines()
        .skip_while(move |line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::{members, problems};

    const PACKAGE: &str = "[package]\nversion.workspace = true\nedition.workspace = true\n\
        rust-version.workspace = true\nlicense.workspace = true\n";
    const LINTS: &str = "\n[lints]\nworkspace = true\n";

    fn found(path: &str, dependencies: &str) -> String {
        problems(path, &format!("{PACKAGE}\n{dependencies}{LINTS}")).join("\n")
    }

    #[test]
    fn members_are_read_from_the_root() {
        assert_eq!(members("[workspace]\nmembers = [\"a\", \"b/c\"]\n"), ["a", "b/c"]);
        assert!(members("[workspace]\n").is_empty());
    }

    #[test]
    fn a_dependency_against_the_layers_is_found() {
        assert_eq!(
            found("daemon/Cargo.toml", "[dependencies]\nmemod-store.workspace = true\n"),
            ""
        );
        let upwards = "[dependencies]\nrocksdb.workspace = true\n";
        assert_eq!(
            found("daemon/Cargo.toml", upwards),
            "daemon/Cargo.toml: must not depend on rocksdb"
        );
        assert_eq!(found("daemon/store/Cargo.toml", upwards), "");
        let hidden = "[dependencies.rocksdb]\nworkspace = true\n";
        assert!(found("daemon/Cargo.toml", hidden).contains("stand in one list"));
        let runtime = "[dependencies]\ntokio = { workspace = true }\n";
        assert!(found("client/lib/Cargo.toml", runtime).contains("only behind a feature"));
        let feature = "[dependencies]\ntokio = { workspace = true, optional = true }\n";
        assert_eq!(found("client/lib/Cargo.toml", feature), "");
        assert!(found("daemon/store/Cargo.toml", feature).contains("must not depend on tokio"));
    }

    #[test]
    fn a_crate_without_a_layer_is_found() {
        assert!(found("new/Cargo.toml", "").contains("does not say its layer"));
    }

    #[test]
    fn missing_lints_and_own_versions_are_found() {
        let said = problems("daemon/Cargo.toml", PACKAGE).join("\n");
        assert_eq!(said, "daemon/Cargo.toml: a crate inherits the workspace's lints");
        let own = PACKAGE.replace("edition.workspace = true", "edition = \"2021\"");
        let said = problems("daemon/Cargo.toml", &format!("{own}{LINTS}")).join("\n");
        assert_eq!(said, "daemon/Cargo.toml: `edition` comes from the workspace");
    }
}
