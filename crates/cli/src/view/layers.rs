//! Layers as a list.

/// Returns layers as a list, such as `1,2,3`.
pub fn layer_list(layers: &[usize]) -> String {
    layers.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}
