//! The values of `general.architecture`: one row of facts each, beyond those of its family.

/// What a file of an architecture says, and how its tensors lie.
pub(super) struct Architecture {
    /// `general.architecture`, and what its keys begin with.
    pub(super) name: &'static str,
    /// The row of `config/family.rs`.
    pub(super) family: &'static str,
    /// The row instead of that one, if the file has experts.
    pub(super) with_experts: Option<&'static str>,
    /// Key of the norms' epsilon.
    pub(super) epsilon: &'static str,
    /// Rows of queries and keys that are rotated together lie as neighbours.
    pub(super) neighbours: bool,
    /// The weights of the chosen experts are made to add up to one.
    pub(super) normalise: bool,
    /// Every n-th layer has no rope; the file does not say which.
    pub(super) unrotated_every: Option<usize>,
    /// Keys that are read beyond those of every architecture.
    pub(super) keys: &'static [&'static str],
}

/// The number of experts, and what else describes them.
const EXPERTS: [&str; 2] = ["expert_count", "expert_used_count"];

const LLAMA: Architecture = Architecture {
    name: "llama",
    family: "llama",
    with_experts: Some("mixtral"),
    epsilon: "attention.layer_norm_rms_epsilon",
    neighbours: true,
    normalise: true,
    unrotated_every: None,
    keys: &EXPERTS,
};

/// Most architectures leave rows in the order of the original.
const PLAIN: Architecture = Architecture { with_experts: None, neighbours: false, keys: &[], ..LLAMA };

const MULTIPLIERS: &[&str] = &["attention.scale", "embedding_scale", "residual_scale", "logit_scale"];

/// Every architecture that is read.
pub(super) const ARCHITECTURES: &[Architecture] = &[
    LLAMA,
    Architecture { name: "qwen2", family: "qwen2", ..PLAIN },
    Architecture { name: "qwen3", family: "qwen3", ..PLAIN },
    Architecture {
        name: "qwen2moe",
        family: "qwen2_moe",
        normalise: false,
        keys: &[EXPERTS[0], EXPERTS[1], "expert_feed_forward_length", "expert_shared_feed_forward_length"],
        ..PLAIN
    },
    Architecture {
        name: "qwen3moe",
        family: "qwen3_moe",
        keys: &[EXPERTS[0], EXPERTS[1], "expert_feed_forward_length"],
        ..PLAIN
    },
    Architecture { name: "gemma", family: "gemma", ..PLAIN },
    Architecture {
        name: "gemma2",
        family: "gemma2",
        keys: &["attention.sliding_window", "attn_logit_softcapping", "final_logit_softcapping"],
        ..PLAIN
    },
    Architecture {
        name: "gemma3",
        family: "gemma3_text",
        keys: &["attention.sliding_window", "final_logit_softcapping", "rope.freq_base_swa"],
        ..PLAIN
    },
    Architecture {
        name: "phi3",
        family: "phi3",
        keys: &["attention.sliding_window", "rope.scaling.attn_factor"],
        ..PLAIN
    },
    Architecture { name: "olmo2", family: "olmo2", ..PLAIN },
    Architecture { name: "olmoe", family: "olmoe", normalise: false, keys: &EXPERTS, ..PLAIN },
    Architecture { name: "granite", family: "granite", neighbours: true, keys: MULTIPLIERS, ..PLAIN },
    Architecture { name: "smollm3", family: "smollm3", neighbours: true, unrotated_every: Some(4), ..PLAIN },
    Architecture {
        name: "gptneox",
        family: "gpt_neox",
        epsilon: "attention.layer_norm_epsilon",
        keys: &["use_parallel_residual"],
        ..PLAIN
    },
    Architecture { name: "gpt2", family: "gpt2", epsilon: "attention.layer_norm_epsilon", ..PLAIN },
];

impl Architecture {
    /// Returns the row of this name.
    pub(super) fn named(name: &str) -> Option<&'static Architecture> {
        ARCHITECTURES.iter().find(|row| row.name == name)
    }

    /// Lists every name.
    pub(super) fn names() -> Vec<&'static str> {
        ARCHITECTURES.iter().map(|row| row.name).collect()
    }

    /// Returns the row that a family's files belong to. Files of Mistral call themselves Llama's.
    pub(super) fn of_family(family: &str) -> Option<&'static Architecture> {
        let family = if family == "mistral" { "llama" } else { family };
        ARCHITECTURES.iter().find(|row| row.family == family || row.with_experts == Some(family))
    }
}
