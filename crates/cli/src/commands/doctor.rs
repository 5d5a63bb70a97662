use crate::args::ComputeArgs;
use crate::terminal::{Failure, Tone, paint, print_line};
use serde_json::json;
use whipstaff::Packs;
use whipstaff_engine::{Isa, available, fma_peak, read_bandwidth};

/// `whipstaff doctor`: what the processor offers, what is used of it and why.
pub fn doctor(as_json: bool, on: ComputeArgs) -> Result<(), Failure> {
    let cpu = on.compute().cpu()?;
    let forced = std::env::var("WHIPSTAFF_KERNELS").is_ok_and(|name| !name.is_empty());
    let (gflops, gbs) = (fma_peak(&cpu), read_bandwidth(&cpu));
    if as_json {
        let sets: Vec<_> = Isa::survey()
            .into_iter()
            .map(|it| json!({"name": it.name, "available": it.missing.is_empty(), "missing": it.missing}))
            .collect();
        let chosen = cpu.isa().name();
        return print_line(
            &json!({
                "kernels": chosen, "forced": forced, "sets": sets, "threads": cpu.n_threads(),
                "processors": available(), "huge_pages": huge_pages(), "fma_gflops": gflops,
                "read_gb_per_s": gbs, "packs": Packs::default().folder(),
            })
            .to_string(),
        );
    }
    print_line(&paint(Tone::Heading, "kernel sets, best first"))?;
    for set in Isa::survey() {
        let what = match (set.name == cpu.isa().name(), set.missing.is_empty()) {
            (true, _) if forced => "in use: WHIPSTAFF_KERNELS asks for it".to_owned(),
            (true, _) => "in use: the best that this processor runs".to_owned(),
            (_, true) => format!("runs here; WHIPSTAFF_KERNELS={} chooses it", set.name),
            (_, false) => format!("not here: the processor or the system lacks {}", set.missing.join(", ")),
        };
        print_line(&format!("  {:12} {what}", set.name))?;
    }
    print_line(&paint(Tone::Heading, "machine"))?;
    let rows = [
        ("threads", format!("{} of {} processors that this process may use", cpu.n_threads(), available())),
        ("multiply-adds", format!("{gflops:.0} GFLOP/s in f32, from registers")),
        (
            "memory",
            format!("{gbs:.1} GB/s read: no decoder is faster than this over the size of its weights"),
        ),
        ("huge pages", huge_pages()),
        ("packed weights", packed_weights()),
    ];
    rows.iter().try_for_each(|(name, value)| print_line(&format!("  {name:14} {value}")))
}

/// Where packed weights are kept, and how much.
fn packed_weights() -> String {
    let Some(dir) = Packs::default().folder() else {
        return "not kept: WHIPSTAFF_PACKS is off or there is no home".into();
    };
    let (n, bytes) = Packs::default().held();
    format!("{n} models, {:.1} GB in {}; deleting it costs a slow start", bytes as f64 / 1e9, dir.display())
}

/// What the system says of transparent huge pages.
fn huge_pages() -> String {
    let setting = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    match setting.split(['[', ']']).nth(1) {
        Some("never") => "never: `madvise` would make decoding faster".into(),
        Some(mode) => format!("{mode}: used for weights"),
        None => "not known on this system; none are needed".into(),
    }
}
