//! A list of shapes that can be written as SVG or painted as PNG.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use tiny_skia::{FillRule, Paint, Path, PathBuilder, Pixmap, Stroke, StrokeDash, Transform};
use ttf_parser::OutlineBuilder;

use crate::font::{Fonts, Weight};
use thiserror::Error;

/// Why a figure could not be made into a PNG.
#[derive(Debug, Error)]
pub enum FigureError {
    /// The scale is not positive, or the image would have no pixels or too many.
    #[error(
        "cannot draw the figure at scale {scale}: choose a scale above 0 that keeps both sides under 16384 pixels"
    )]
    Scale {
        /// The scale asked for.
        scale: f32,
    },
    /// The image was drawn but could not be encoded.
    #[error("cannot encode the figure as PNG")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Gives a drawing its three outputs. The type has a `title`, `describe` says what it shows, and `draw` draws it.
macro_rules! outputs {
    ($name:ident) => {
        impl $name {
            /// Returns the drawing as an SVG file: light, with a card of its own, readable without any font
            /// installed.
            pub fn svg(&self) -> String {
                self.draw().svg($crate::canvas::Place::File, &self.title, &self.describe())
            }

            /// Returns the drawing as an `<svg>` element for an HTML page: as wide as its parent, dark where the
            /// reader prefers dark pages, light in print.
            pub fn svg_inline(&self) -> String {
                self.draw().svg($crate::canvas::Place::Page, &self.title, &self.describe())
            }

            /// Returns the drawing as a PNG with `scale` image pixels per pixel of the SVG; 2 suits most screens.
            ///
            /// # Errors
            ///
            /// Returns [`FigureError`](crate::canvas::FigureError) for a scale that gives no image.
            pub fn png(&self, scale: f32) -> Result<Vec<u8>, $crate::canvas::FigureError> {
                self.draw().png(scale)
            }
        }
    };
}
pub(crate) use outputs;

/// A colour on a light page and its counterpart on a dark one, as 0xRRGGBB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ink {
    pub(crate) light: u32,
    pub(crate) dark: u32,
}

/// Which point of the text stands at its x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A line of text; `y` is the baseline.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) text: String,
    pub(crate) size: f64,
    pub(crate) weight: Weight,
    pub(crate) anchor: Anchor,
    /// Reads upwards.
    pub(crate) upwards: bool,
    pub(crate) ink: Ink,
}

impl Text {
    /// A regular text that starts at `x`.
    pub(crate) fn new((x, y): (f64, f64), text: impl Into<String>, size: f64, ink: Ink) -> Self {
        Self {
            x,
            y,
            text: text.into(),
            size,
            weight: Weight::Regular,
            anchor: Anchor::Start,
            upwards: false,
            ink,
        }
    }

    pub(crate) fn bold(self) -> Self {
        Self { weight: Weight::SemiBold, ..self }
    }

    pub(crate) fn anchored(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub(crate) fn upwards(self) -> Self {
        Self { upwards: true, ..self }
    }
}

/// Where an SVG is going to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file of its own: fixed size, light.
    File,
    /// Inside an HTML page: as wide as its parent, dark where the page is.
    Page,
}

/// Shapes in the order they are painted, in pixels with y downwards.
pub(crate) struct Canvas {
    pub(crate) fonts: Fonts,
    width: f64,
    height: f64,
    shapes: Vec<Shape>,
}

impl Canvas {
    /// A canvas without shapes, whose height [`Canvas::finish`] will set.
    pub(crate) fn new(width: f64, fonts: Fonts) -> Self {
        Self { fonts, width, height: 0.0, shapes: Vec::new() }
    }

    /// Cuts the canvas at `height` and lays a card under everything drawn so far.
    pub(crate) fn finish(&mut self, height: f64, card: Ink, edge: Ink) {
        self.height = height.ceil();
        let (w, h) = (self.width - 1.0, self.height - 1.0);
        let card = Shape::Rect { x: 0.5, y: 0.5, w, h, radius: 10.0, fill: card, edge: Some(edge) };
        self.shapes.insert(0, card);
    }

    /// A filled rectangle.
    pub(crate) fn rect(&mut self, (x, y): (f64, f64), (w, h): (f64, f64), fill: Ink) {
        self.shapes.push(Shape::Rect { x, y, w, h, radius: 0.0, fill, edge: None });
    }

    /// A filled polygon; `opacity` from 0 to 1.
    pub(crate) fn polygon(&mut self, points: Vec<(f64, f64)>, ink: Ink, opacity: f64) {
        self.shapes.push(Shape::Polygon { points, ink, opacity });
    }

    /// An open line through `points`.
    pub(crate) fn line(&mut self, points: Vec<(f64, f64)>, ink: Ink, width: f64, dashed: bool) {
        self.shapes.push(Shape::Line { points, ink, width, dashed });
    }

    /// A filled circle.
    pub(crate) fn dot(&mut self, (x, y): (f64, f64), radius: f64, ink: Ink) {
        self.shapes.push(Shape::Dot { x, y, radius, ink });
    }

    pub(crate) fn text(&mut self, text: Text) {
        self.shapes.push(Shape::Text(text));
    }

    /// Opens a group whose `title` a browser shows on hover. Close it with [`Canvas::end`].
    pub(crate) fn begin(&mut self, title: String) {
        self.shapes.push(Shape::Begin(title));
    }

    pub(crate) fn end(&mut self) {
        self.shapes.push(Shape::End);
    }

    /// The shapes as an SVG document; `title` and `description` are for readers who cannot see it.
    pub(crate) fn svg(&self, place: Place, title: &str, description: &str) -> String {
        let mut svg = Svg {
            fonts: &self.fonts,
            place,
            glyphs: BTreeMap::new(),
            inks: BTreeSet::new(),
            body: String::new(),
        };
        for shape in &self.shapes {
            svg.shape(shape);
        }
        svg.document(self.width, self.height, title, description)
    }

    /// The shapes in their light colours as a PNG of `scale` image pixels per pixel of the figure.
    pub(crate) fn png(&self, scale: f32) -> Result<Vec<u8>, FigureError> {
        let side = |length: f64| (length * f64::from(scale)).ceil();
        let (width, height) = (side(self.width), side(self.height));
        let drawable = width >= 1.0 && height >= 1.0 && width.max(height) <= MAX_SIDE;
        if !drawable {
            return Err(FigureError::Scale { scale });
        }
        let mut pixmap = Pixmap::new(width as u32, height as u32).ok_or(FigureError::Scale { scale })?;
        let mut painter =
            Painter { fonts: &self.fonts, pixmap: &mut pixmap, view: Transform::from_scale(scale, scale) };
        for shape in &self.shapes {
            painter.shape(shape);
        }
        pixmap.encode_png().map_err(|error| FigureError::Encode(Box::new(error)))
    }
}

/// Returns `text` for element content and quoted attributes of XML and HTML.
///
/// Control characters, which neither format may contain, become U+FFFD.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Longest side of a PNG in image pixels: 16 times the widest figure, and still under 1 GiB of memory.
const MAX_SIDE: f64 = 16_384.0;

/// Length of a dash and of the gap after it, in pixels.
const DASH: [f32; 2] = [6.0, 3.5];

/// For texts with characters that the bundled font does not have.
const FALLBACK_FONTS: &str = "Inter,system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif";

enum Shape {
    Rect { x: f64, y: f64, w: f64, h: f64, radius: f64, fill: Ink, edge: Option<Ink> },
    Polygon { points: Vec<(f64, f64)>, ink: Ink, opacity: f64 },
    Line { points: Vec<(f64, f64)>, ink: Ink, width: f64, dashed: bool },
    Dot { x: f64, y: f64, radius: f64, ink: Ink },
    Text(Text),
    Begin(String),
    End,
}

/// Distance from the anchor back to the left edge of a text of this width.
fn shift(anchor: Anchor, width: f64) -> f64 {
    match anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => width / 2.0,
        Anchor::End => width,
    }
}

// ---- SVG ----

struct Svg<'a> {
    fonts: &'a Fonts,
    place: Place,
    /// Outlines in use, by element id: each is written once, however often it occurs.
    glyphs: BTreeMap<String, String>,
    /// Inks in use: each is a class that the style sheet of a dark page can recolour.
    inks: BTreeSet<(&'static str, Ink)>,
    body: String,
}

impl Svg<'_> {
    fn document(self, width: f64, height: f64, title: &str, description: &str) -> String {
        let (width, height) = (number(width), number(height));
        let (title, description) = (escape(title), escape(description));
        let mut out = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\"");
        match self.place {
            Place::File => {
                let _ = write!(
                    out,
                    " width=\"{width}\" height=\"{height}\" role=\"img\">\n<title>{title}</title>\n<desc>{description}</desc>\n"
                );
            }
            // A <title> would pop up wherever the pointer rests on the page's figure.
            Place::Page => {
                let _ = write!(
                    out,
                    " role=\"img\" aria-label=\"{title}. {description}\">\n<style>@media screen and (prefers-color-scheme:dark){{"
                );
                for (property, ink) in &self.inks {
                    let _ = write!(out, ".{}{{{property}:#{:06x}}}", class(property, *ink), ink.dark);
                }
                out.push_str("}</style>\n");
            }
        }
        out.push_str("<defs>\n");
        for (id, path) in &self.glyphs {
            let _ = writeln!(out, "<path id=\"{id}\" d=\"{path}\"/>");
        }
        out.push_str("</defs>\n");
        out.push_str(&self.body);
        out.push_str("</svg>\n");
        out
    }

    fn shape(&mut self, shape: &Shape) {
        match shape {
            Shape::Rect { x, y, w, h, radius, fill, edge } => {
                let [x, y, w, h, r] = [x, y, w, h, radius].map(|v| number(*v));
                // One class cannot carry two inks, so the edge is a rectangle of its own.
                let fill = self.ink("fill", *fill);
                let _ = writeln!(
                    self.body,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"{r}\" {fill}/>"
                );
                if let Some(edge) = edge {
                    let edge = self.ink("stroke", *edge);
                    let _ = writeln!(
                        self.body,
                        "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"{r}\" fill=\"none\" {edge}/>"
                    );
                }
            }
            Shape::Polygon { points, ink, opacity } => {
                let ink = self.ink("fill", *ink);
                let opacity = if *opacity < 1.0 {
                    format!(" fill-opacity=\"{}\"", number(*opacity))
                } else {
                    String::new()
                };
                let _ = writeln!(self.body, "<path d=\"{}Z\" {ink}{opacity}/>", polyline(points));
            }
            Shape::Line { points, ink, width, dashed } => {
                let ink = self.ink("stroke", *ink);
                let dash = if *dashed {
                    format!(" stroke-dasharray=\"{} {}\"", DASH[0], DASH[1])
                } else {
                    String::new()
                };
                let _ = writeln!(
                    self.body,
                    "<path d=\"{}\" fill=\"none\" {ink} stroke-width=\"{}\" stroke-linejoin=\"round\"{dash}/>",
                    polyline(points),
                    number(*width)
                );
            }
            Shape::Dot { x, y, radius, ink } => {
                let ink = self.ink("fill", *ink);
                let _ = writeln!(
                    self.body,
                    "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" {ink}/>",
                    number(*x),
                    number(*y),
                    number(*radius)
                );
            }
            Shape::Text(text) => self.text(text),
            Shape::Begin(title) => {
                let _ = writeln!(self.body, "<g><title>{}</title>", escape(title));
            }
            Shape::End => self.body.push_str("</g>\n"),
        }
    }

    fn text(&mut self, text: &Text) {
        let ink = self.ink("fill", text.ink);
        let (x, y) = (number(text.x), number(text.y));
        let turn = if text.upwards { " rotate(-90)" } else { "" };
        if !self.fonts.cover(&text.text) {
            let anchor = match text.anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            let weight = match text.weight {
                Weight::Regular => 400,
                Weight::SemiBold => 600,
            };
            let _ = writeln!(
                self.body,
                "<text transform=\"translate({x} {y}){turn}\" font-family=\"{FALLBACK_FONTS}\" font-size=\"{}\" font-weight=\"{weight}\" text-anchor=\"{anchor}\" {ink}>{}</text>",
                number(text.size),
                escape(&text.text)
            );
            return;
        }
        let (line, advance) = self.fonts.line(&text.text, text.weight);
        let scale = self.fonts.pixels_per_unit(text.weight, text.size);
        let start = shift(text.anchor, f64::from(advance)).round() as i32;
        let _ = write!(
            self.body,
            "<g transform=\"translate({x} {y}){turn} scale({scale:.6} -{scale:.6})\" {ink}>"
        );
        for placed in line {
            let mut pen = SvgPen::default();
            self.fonts.outline(placed.glyph, text.weight, &mut pen);
            if pen.path.is_empty() {
                continue;
            }
            let face = match text.weight {
                Weight::Regular => 'r',
                Weight::SemiBold => 's',
            };
            let id = format!("ws-{face}{}", placed.glyph.0);
            let _ = write!(self.body, "<use href=\"#{id}\" x=\"{}\"/>", placed.x - start);
            self.glyphs.insert(id, pen.path);
        }
        self.body.push_str("</g>\n");
    }

    /// The attributes that paint an element's `property` (fill or stroke) with `ink`.
    fn ink(&mut self, property: &'static str, ink: Ink) -> String {
        match self.place {
            Place::File => format!("{property}=\"#{:06x}\"", ink.light),
            Place::Page => {
                self.inks.insert((property, ink));
                format!("class=\"{}\" {property}=\"#{:06x}\"", class(property, ink), ink.light)
            }
        }
    }
}

/// The class of an ink. It names both colours: figures that share a page cannot recolour each other.
fn class(property: &str, ink: Ink) -> String {
    format!("ws-{}-{:06x}-{:06x}", &property[..1], ink.light, ink.dark)
}

/// A coordinate with at most two decimals.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn polyline(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (i, (x, y)) in points.iter().enumerate() {
        let _ = write!(path, "{}{} {}", if i == 0 { "M" } else { "L" }, number(*x), number(*y));
    }
    path
}

/// Writes an outline in whole font units, each step relative to the last: short, and exact to 1/200 pixel.
#[derive(Default)]
struct SvgPen {
    path: String,
    at: (i32, i32),
    /// Where the contour began, and where `z` takes the pen back to.
    start: (i32, i32),
}

impl SvgPen {
    fn step<const N: usize>(&mut self, command: char, points: [(f32, f32); N]) {
        self.path.push(command);
        let mut end = self.at;
        for (i, (x, y)) in points.into_iter().enumerate() {
            end = (x.round() as i32, y.round() as i32);
            let (dx, dy) = (end.0 - self.at.0, end.1 - self.at.1);
            let _ = write!(self.path, "{}{dx} {dy}", if i == 0 { "" } else { " " });
        }
        self.at = end;
    }
}

impl OutlineBuilder for SvgPen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.step('m', [(x, y)]);
        self.start = self.at;
    }
    fn line_to(&mut self, x: f32, y: f32) {
        self.step('l', [(x, y)]);
    }
    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.step('q', [(x1, y1), (x, y)]);
    }
    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.step('c', [(x1, y1), (x2, y2), (x, y)]);
    }
    fn close(&mut self) {
        self.path.push('z');
        self.at = self.start;
    }
}

// ---- PNG ----

struct Painter<'a> {
    fonts: &'a Fonts,
    pixmap: &'a mut Pixmap,
    /// From pixels of the figure to pixels of the image.
    view: Transform,
}

impl Painter<'_> {
    fn shape(&mut self, shape: &Shape) {
        match shape {
            Shape::Rect { x, y, w, h, radius, fill, edge } => {
                let Some(path) = round_rect([*x, *y, *w, *h].map(|v| v as f32), *radius as f32) else {
                    return;
                };
                self.fill(&path, *fill, 1.0, self.view);
                if let Some(edge) = edge {
                    self.stroke(&path, *edge, 1.0, false);
                }
            }
            Shape::Polygon { points, ink, opacity } => {
                if let Some(path) = path_through(points, true) {
                    self.fill(&path, *ink, *opacity, self.view);
                }
            }
            Shape::Line { points, ink, width, dashed } => {
                if let Some(path) = path_through(points, false) {
                    self.stroke(&path, *ink, *width as f32, *dashed);
                }
            }
            Shape::Dot { x, y, radius, ink } => {
                if let Some(path) = PathBuilder::from_circle(*x as f32, *y as f32, *radius as f32) {
                    self.fill(&path, *ink, 1.0, self.view);
                }
            }
            Shape::Text(text) => self.text(text),
            Shape::Begin(_) | Shape::End => {}
        }
    }

    fn text(&mut self, text: &Text) {
        let (line, advance) = self.fonts.line(&text.text, text.weight);
        let scale = self.fonts.pixels_per_unit(text.weight, text.size) as f32;
        let start = shift(text.anchor, f64::from(advance)) as f32;
        let origin = self.view.pre_translate(text.x as f32, text.y as f32);
        // Not `pre_rotate(-90)`: its sine and cosine come from the platform's libm.
        let turned = if text.upwards {
            origin.pre_concat(Transform::from_row(0.0, -1.0, 1.0, 0.0, 0.0, 0.0))
        } else {
            origin
        };
        let mut pen = PngPen(PathBuilder::new());
        for placed in line {
            let mut glyph = PngPen(PathBuilder::new());
            self.fonts.outline(placed.glyph, text.weight, &mut glyph);
            let moved = glyph
                .0
                .finish()
                .and_then(|path| path.transform(Transform::from_translate(placed.x as f32 - start, 0.0)));
            if let Some(path) = moved {
                pen.0.push_path(&path);
            }
        }
        if let Some(path) = pen.0.finish() {
            self.fill(&path, text.ink, 1.0, turned.pre_scale(scale, -scale));
        }
    }

    fn fill(&mut self, path: &Path, ink: Ink, opacity: f64, to_image: Transform) {
        self.pixmap.fill_path(path, &paint(ink, opacity), FillRule::Winding, to_image, None);
    }

    fn stroke(&mut self, path: &Path, ink: Ink, width: f32, dashed: bool) {
        let stroke = Stroke {
            width,
            line_join: tiny_skia::LineJoin::Round,
            dash: if dashed { StrokeDash::new(DASH.to_vec(), 0.0) } else { None },
            ..Stroke::default()
        };
        self.pixmap.stroke_path(path, &paint(ink, 1.0), &stroke, self.view, None);
    }
}

fn paint(ink: Ink, opacity: f64) -> Paint<'static> {
    let [_, r, g, b] = ink.light.to_be_bytes();
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color_rgba8(r, g, b, (opacity * 255.0).round() as u8);
    paint
}

fn path_through(points: &[(f64, f64)], close: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (i, (x, y)) in points.iter().enumerate() {
        if i == 0 {
            path.move_to(*x as f32, *y as f32);
        } else {
            path.line_to(*x as f32, *y as f32);
        }
    }
    if close {
        path.close();
    }
    path.finish()
}

fn round_rect([x, y, w, h]: [f32; 4], radius: f32) -> Option<Path> {
    let r = radius.min(w / 2.0).min(h / 2.0);
    let k = r * (1.0 - 0.552_284_8); // where the control points of a quarter circle lie
    let (right, bottom) = (x + w, y + h);
    let mut path = PathBuilder::new();
    path.move_to(x + r, y);
    path.line_to(right - r, y);
    path.cubic_to(right - k, y, right, y + k, right, y + r);
    path.line_to(right, bottom - r);
    path.cubic_to(right, bottom - k, right - k, bottom, right - r, bottom);
    path.line_to(x + r, bottom);
    path.cubic_to(x + k, bottom, x, bottom - k, x, bottom - r);
    path.line_to(x, y + r);
    path.cubic_to(x, y + k, x + k, y, x + r, y);
    path.close();
    path.finish()
}

struct PngPen(PathBuilder);

impl OutlineBuilder for PngPen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.0.move_to(x, y);
    }
    fn line_to(&mut self, x: f32, y: f32) {
        self.0.line_to(x, y);
    }
    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.0.quad_to(x1, y1, x, y);
    }
    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.0.cubic_to(x1, y1, x2, y2, x, y);
    }
    fn close(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_leaves_no_markup_and_no_control_character() {
        assert_eq!(escape("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
        assert_eq!(escape("a\u{0}\u{1b}[31m\tb\nc\u{ffff}"), "a\u{fffd}\u{fffd}[31m\tb\nc\u{fffd}");
    }

    #[test]
    fn coordinates_are_short_and_never_minus_zero() {
        assert_eq!([10.0, 1.5, -0.001, 2.345_67].map(number), ["10", "1.5", "0", "2.35"]);
    }
}
