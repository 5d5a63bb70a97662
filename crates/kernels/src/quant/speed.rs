use super::Layout;
use super::activations::Quantised;
use super::decode::DecodeScratch;
use super::product::{few_rows_product, rows_product};
use crate::Dtype;
use crate::isa::{Isa, Kernel};
use crate::lanes::{LANES, Lanes};

unsafe extern "C" {
    fn clock_gettime(id: i32, t: *mut [i64; 2]) -> i32;
}
fn now() -> f64 {
    let mut t = [0i64; 2];
    unsafe { clock_gettime(3, &mut t) };
    t[0] as f64 + t[1] as f64 * 1e-9
}
struct Run<'a> {
    dtype: Dtype,
    panels: &'a [u8],
    panel: usize,
    x: &'a Quantised,
    n_rows: usize,
    totals: &'a mut [[f32; LANES]],
    scratch: &'a mut DecodeScratch,
}
impl Kernel for Run<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for p in self.panels.chunks_exact(self.panel) {
            unsafe { if self.n_rows <= 3 { few_rows_product::<L>(self.dtype, p, self.x, 0..self.n_rows, self.totals) } else { rows_product::<L>(self.dtype, p, self.x, 0..self.n_rows, self.totals, self.scratch) } }
        }
    }
}
struct Q<'a> {
    x: &'a [f32],
    out: &'a mut Quantised,
}
impl Kernel for Q<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let n_in = self.out.n_in();
        let writer = self.out.writer();
        for (row, x) in self.x.chunks_exact(n_in).enumerate() {
            for (block, x) in x.chunks(256).enumerate() {
                unsafe { writer.fill::<L>(row, block, x) };
            }
        }
    }
}

#[test]
#[ignore]
fn speed() {
    let isa = Isa::best();
    let n_in = 2048;
    let names = std::env::var("Q").unwrap_or("Q8_0 Q4_K Q6_K Q4_0 Q5_K Q5_0 Q3_K Q2_K Q4_1 Q5_1".into());
    let mut rows = vec![1usize, 2, 4, 6, 12, 48, 96];
    if let Ok(r) = std::env::var("R") {
        rows = r.split(' ').map(|r| r.parse().unwrap()).collect();
    }
    for name in names.split(' ') {
        let dtype = Dtype::BLOCKS.into_iter().find(|d| d.name() == name).unwrap();
        let panel = Layout::of(dtype).panel_bytes(n_in);
        let n = (96 << 20) / panel;
        let mut map = memmap2::MmapMut::map_anon(n * panel).unwrap();
        let _ = map.advise(memmap2::Advice::HugePage);
        for (i, b) in map.iter_mut().enumerate() {
            *b = (i * 7 + (i >> 9)) as u8 & 0x3f;
        }
        print!("{name} ");
        for &n_rows in &rows {
            let x: Vec<f32> = (0..n_rows * n_in).map(|i| (i % 37) as f32 - 18.0).collect();
            let mut q = Quantised::default();
            q.reset(Layout::of(dtype).unit, n_rows, n_in);
            isa.run(Q { x: &x, out: &mut q });
            let mut totals = vec![[0.0; LANES]; n_rows];
            let mut scratch = DecodeScratch::new();
            let used = n / 64;
            let mut best = f64::INFINITY;
            for i in 0..64 {
                let start = now();
                isa.run(Run { dtype, panels: &map[i * used * panel..][..used * panel], panel, x: &q, n_rows, totals: &mut totals, scratch: &mut scratch });
                best = best.min(now() - start);
            }
            let gb = (used * panel) as f64 / best / 1e9;
            let gop = 2.0 * (used * 16 * n_in * n_rows) as f64 / best / 1e9;
            print!("| {n_rows}: {gb:.1} GB/s {gop:.0} GOP/s ");
        }
        println!();
    }
    // pure read
    let mut map = memmap2::MmapMut::map_anon(96 << 20).unwrap();
    let _ = map.advise(memmap2::Advice::HugePage);
    map.fill(1);
    let words: &[u64] = bytemuck::cast_slice(&map);
    let best = (0..12)
        .map(|_| {
            let s = now();
            let mut t = [0u64; 16];
            for c in words.chunks_exact(16) {
                for i in 0..16 {
                    t[i] = t[i].wrapping_add(c[i]);
                }
            }
            std::hint::black_box(t);
            now() - s
        })
        .fold(f64::INFINITY, f64::min);
    println!("plain read {:.1} GB/s", (96 << 20) as f64 / best / 1e9);
    for dtype in [Dtype::Q8_0, Dtype::Q4K] {
        let x: Vec<f32> = (0..64 * n_in).map(|i| (i % 37) as f32 - 18.0).collect();
        let mut q = Quantised::default();
        q.reset(Layout::of(dtype).unit, 64, n_in);
        let best = (0..20)
            .map(|_| {
                let s = now();
                isa.run(Q { x: &x, out: &mut q });
                now() - s
            })
            .fold(f64::INFINITY, f64::min);
        println!("quantise {} {:.1} GB/s", dtype.name(), (4 * x.len()) as f64 / best / 1e9);
        let mut random = 1u32;
        let row: Vec<Vec<u8>> = (0..16)
            .map(|_| {
                (0..dtype.row_bytes(n_in).unwrap())
                    .map(|_| {
                        random = random.wrapping_mul(1664525).wrapping_add(1013904223);
                        (random >> 24) as u8
                    })
                    .collect()
            })
            .collect();
        let mut out = vec![0; Layout::of(dtype).panel_bytes(n_in)];
        let best = (0..20)
            .map(|_| {
                let s = now();
                super::pack::pack_panel(dtype, row.iter().map(|r| &r[..]), &mut out);
                now() - s
            })
            .fold(f64::INFINITY, f64::min);
        println!("pack {} {:.2} GB/s", dtype.name(), out.len() as f64 / best / 1e9);
    }
}
