//! Graphics and texts of a presentation state (PS3.3 C.10.5), layer by layer (C.10.7), drawn on the
//! picture as it is shown, so that lines are a pixel wide however large it is.
//!
//! Points, lines, curves, circles and ellipses, also filled, and texts in their boxes or at their
//! anchors, in pixels of the image or parts of the displayed area. What a state may make us draw is
//! bounded by the pixels that are set.

use super::Presentation;
use super::annotation::Canvas;
use super::geometry::Placement;
use super::ink::Ink;
use super::picture::Picture;
use crate::head::DataSet;
use crate::limits::RenderLimits;
use pacs_core::tag::tags;
use std::collections::BTreeMap;
use std::f64::consts::TAU;

/// A place on the picture.
pub(super) type Point = (f64, f64);

/// More than what calculations of places are wrong by.
const ROUNDING: f64 = 1e-6;

/// Lines that a circle or an ellipse is drawn of.
const ROUND_STEPS: u32 = 96;

/// Lines that a curve is drawn of between two points.
const CURVE_STEPS: u32 = 12;

/// Draws what `presentation` has for its image on `picture`, which was placed by `placement`.
pub(super) fn draw(
    presentation: &Presentation<'_>,
    placement: &Placement,
    picture: &mut Picture,
    limits: &RenderLimits,
) {
    let state = presentation.state.root();
    // Name of a layer, and its place among them and what is drawn with.
    let mut layers: BTreeMap<String, (f64, Ink)> = BTreeMap::new();
    let of_layer = (
        tags::GRAPHIC_LAYER_RECOMMENDED_DISPLAY_CIE_LAB_VALUE,
        tags::GRAPHIC_LAYER_RECOMMENDED_DISPLAY_GRAYSCALE_VALUE,
    );
    for layer in state.items(tags::GRAPHIC_LAYER_SEQUENCE) {
        let Some(name) = layer.text(tags::GRAPHIC_LAYER) else {
            continue;
        };
        let order = layer.number(tags::GRAPHIC_LAYER_ORDER).unwrap_or(0.0);
        let ink = Ink::of(&layer, of_layer, picture).unwrap_or(Ink::WHITE);
        layers.insert(name, (order, ink));
    }
    let of_image = state
        .items(tags::GRAPHIC_ANNOTATION_SEQUENCE)
        .filter(|annotation| presentation.is_for_image(annotation));
    let mut annotations: Vec<(f64, Ink, DataSet<'_>)> = of_image
        .map(|annotation| {
            let name = annotation.text(tags::GRAPHIC_LAYER).unwrap_or_default();
            let (order, ink) = layers.get(&name).copied().unwrap_or((0.0, Ink::WHITE));
            (order, ink, annotation)
        })
        .collect();
    annotations.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut pen = Pen {
        picture,
        placement,
        ink: Ink::WHITE,
        pixels_left: limits.graphic_pixels_max,
        lines_left: limits.graphic_lines_max,
        chars_max: limits.annotation_chars_max,
    };
    for (_, ink, annotation) in annotations {
        pen.ink = ink;
        for object in annotation.items(tags::GRAPHIC_OBJECT_SEQUENCE) {
            pen.object(&object);
        }
        for text in annotation.items(tags::TEXT_OBJECT_SEQUENCE) {
            pen.text(&text);
        }
    }
}

struct Pen<'p> {
    picture: &'p mut Picture,
    placement: &'p Placement,
    ink: Ink,
    /// Pixels that may still be set.
    pixels_left: u64,
    /// Lines of text that may still be written.
    lines_left: usize,
    chars_max: usize,
}

impl Pen<'_> {
    /// Where a point is on the picture.
    fn place(&self, units: Option<&str>, (x, y): Point) -> Option<Point> {
        match units {
            Some("DISPLAY") => {
                let (width, height) = (self.picture.width(), self.picture.height());
                Some((x * f64::from(width), y * f64::from(height)))
            }
            Some("PIXEL") | None => Some(self.placement.at(x, y)),
            // Parts of a slide.
            Some(_) => None,
        }
    }

    fn object(&mut self, object: &DataSet<'_>) {
        let units = object.text(tags::GRAPHIC_ANNOTATION_UNITS);
        let numbers = object.numbers(tags::GRAPHIC_DATA);
        let points: Option<Vec<Point>> = numbers
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[x, y]| self.place(units.as_deref(), (*x, *y)))
            .collect();
        let Some(points) = points else {
            return;
        };
        let outline = match object.text(tags::GRAPHIC_TYPE).as_deref() {
            Some("POINT") => {
                points.iter().for_each(|point| self.cross(*point));
                return;
            }
            Some("POLYLINE") => points,
            Some("INTERPOLATED") => curve(&points),
            Some("CIRCLE") => circle(&points),
            Some("ELLIPSE") => ellipse(&points),
            _ => return,
        };
        if object.text(tags::GRAPHIC_FILLED).as_deref() == Some("Y") {
            self.fill(&outline);
        }
        for pair in outline.windows(2) {
            if let [from, to] = pair {
                self.line(*from, *to);
            }
        }
    }

    fn text(&mut self, text: &DataSet<'_>) {
        let corner = |tag| match *text.numbers(tag) {
            [x, y, ..] => Some((x, y)),
            _ => None,
        };
        let units = text.text(tags::BOUNDING_BOX_ANNOTATION_UNITS);
        let place = |pen: &Self, tag| pen.place(units.as_deref(), corner(tag)?);
        let first = place(self, tags::BOUNDING_BOX_TOP_LEFT_HAND_CORNER);
        let second = place(self, tags::BOUNDING_BOX_BOTTOM_RIGHT_HAND_CORNER);
        let units = text.text(tags::ANCHOR_POINT_ANNOTATION_UNITS);
        let anchor =
            corner(tags::ANCHOR_POINT).and_then(|point| self.place(units.as_deref(), point));
        // Which corner is which depends on how the image is turned.
        let bounds = first.zip(second).map(|((x1, y1), (x2, y2))| {
            let (left, top) = (x1.min(x2), y1.min(y2));
            (left, top, x1.max(x2), y1.max(y2))
        });
        let justified = text.text(tags::BOUNDING_BOX_TEXT_HORIZONTAL_JUSTIFICATION);
        let (at, align) = match (bounds, anchor) {
            (Some((left, top, right, _)), _) => match justified.as_deref() {
                Some("RIGHT") => ((right, top), Align::Right),
                Some("CENTER") => ((f64::midpoint(left, right), top), Align::Center),
                _ => ((left, top), Align::Left),
            },
            (None, Some(anchor)) => (anchor, Align::Left),
            (None, None) => return,
        };
        let is_visible = text.text(tags::ANCHOR_POINT_VISIBILITY).as_deref() == Some("Y");
        if let (Some((left, top, right, bottom)), Some(anchor), true) = (bounds, anchor, is_visible)
        {
            let nearest = (anchor.0.clamp(left, right), anchor.1.clamp(top, bottom));
            self.line(anchor, nearest);
        }
        let value = text.text(tags::UNFORMATTED_TEXT_VALUE).unwrap_or_default();
        let lines: Vec<String> = value
            .lines()
            .take(self.lines_left)
            .map(|line| {
                let shown = line.chars().filter(|letter| !letter.is_control());
                shown.take(self.chars_max).collect()
            })
            .collect();
        self.lines_left = self.lines_left.saturating_sub(lines.len());
        Canvas(self.picture).lines(&lines, at, align, self.ink);
    }

    /// A point is seen where it is a cross.
    fn cross(&mut self, (x, y): Point) {
        self.line((x - 3.0, y), (x + 3.0, y));
        self.line((x, y - 3.0), (x, y + 3.0));
    }

    /// A line a pixel wide, as far as it is on the picture.
    fn line(&mut self, from: Point, to: Point) {
        let (width, height) = (self.picture.width(), self.picture.height());
        let most = (f64::from(width), f64::from(height));
        let Some((from, to)) = clipped(from, to, most) else {
            return;
        };
        let (across, down) = (to.0 - from.0, to.1 - from.1);
        let steps = across.abs().max(down.abs()).ceil().max(1.0);
        let mut at = 0.0;
        while at <= steps {
            let part = at / steps;
            if !self.dot(from.0 + across * part, from.1 + down * part) {
                return;
            }
            at += 1.0;
        }
    }

    /// The inside of a closed line: what is right of an odd number of its sides.
    fn fill(&mut self, outline: &[Point]) {
        let Some(last) = outline.last().filter(|_| outline.len() > 2) else {
            return;
        };
        let before = std::iter::once(last).chain(outline);
        let sides: Vec<(&Point, &Point)> = before.zip(outline).collect();
        for row in 0..self.picture.height() {
            let y = f64::from(row) + 0.5;
            // What looking at a side costs.
            let cost = u64::try_from(sides.len() / 8).unwrap_or(u64::MAX);
            let Some(left) = self.pixels_left.checked_sub(cost) else {
                return;
            };
            self.pixels_left = left;
            let crossed = sides.iter().filter_map(|((x1, y1), (x2, y2))| {
                let crosses = (*y1 <= y) != (*y2 <= y);
                crosses.then(|| x1 + (y - y1) / (y2 - y1) * (x2 - x1))
            });
            let mut crossed: Vec<f64> = crossed.collect();
            crossed.sort_by(f64::total_cmp);
            for [from, to] in crossed.as_chunks::<2>().0 {
                let width = f64::from(self.picture.width());
                let (from, to) = (from.clamp(0.0, width), to.clamp(0.0, width));
                let count = u64::try_from(super::geometry::place(to - from)).unwrap_or(u64::MAX);
                let Some(left) = self.pixels_left.checked_sub(count) else {
                    return;
                };
                self.pixels_left = left;
                let (first, end) = ((from + 0.5).floor() + 1.0, (to + 0.5).floor());
                self.picture.fill_row(row, first, end, self.ink);
            }
        }
    }

    /// Whether there may be more.
    fn dot(&mut self, x: f64, y: f64) -> bool {
        let Some(left) = self.pixels_left.checked_sub(1) else {
            return false;
        };
        self.pixels_left = left;
        if x >= 0.0 && y >= 0.0 {
            // What is not quite a whole number for the sake of rounding is that number.
            let place = |at: f64| {
                let place = super::geometry::place(at + ROUNDING);
                i64::try_from(place).unwrap_or(i64::MAX)
            };
            self.picture.put(place(x), place(y), self.ink);
        }
        true
    }
}

/// Where a text stands to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Center,
    Left,
    Right,
}

/// The part of a line that is within `0..most`, if any is (Liang and Barsky).
fn clipped(from: Point, to: Point, most: Point) -> Option<(Point, Point)> {
    let (across, down) = (to.0 - from.0, to.1 - from.1);
    let (mut first, mut last) = (0.0_f64, 1.0_f64);
    for (step, room) in [
        (-across, from.0),
        (across, most.0 - from.0),
        (-down, from.1),
        (down, most.1 - from.1),
    ] {
        if !step.is_finite() || !room.is_finite() {
            return None;
        }
        if step == 0.0 {
            if room < 0.0 {
                return None;
            }
        } else if step < 0.0 {
            first = first.max(room / step);
        } else {
            last = last.min(room / step);
        }
    }
    let at = |part: f64| (from.0 + across * part, from.1 + down * part);
    (first <= last).then(|| (at(first), at(last)))
}

/// A smooth line through all points (Catmull and Rom).
fn curve(points: &[Point]) -> Vec<Point> {
    if points.len() < 3 {
        return points.to_vec();
    }
    let is_closed = points.first() == points.last();
    let count = points.len();
    let point = |at: usize, back: bool| -> Point {
        // Before the first and behind the last: around, or the end itself.
        let around = match (back, is_closed) {
            (true, true) if at == 0 => count.saturating_sub(2),
            (true, _) => at.saturating_sub(1),
            (false, true) if at.saturating_add(1) >= count => 1,
            (false, _) => at.saturating_add(1).min(count.saturating_sub(1)),
        };
        points.get(around).copied().unwrap_or_default()
    };
    let mut line = Vec::new();
    for (at, pair) in points.windows(2).enumerate() {
        let [one, two] = pair else {
            continue;
        };
        let (before, behind) = (point(at, true), point(at.saturating_add(1), false));
        for step in 0..CURVE_STEPS {
            let part = f64::from(step) / f64::from(CURVE_STEPS);
            let of = |a: f64, b: f64, c: f64, d: f64| {
                let (square, cube) = (part * part, part * part * part);
                0.5 * (2.0 * b
                    + (c - a) * part
                    + (2.0 * a - 5.0 * b + 4.0 * c - d) * square
                    + (3.0 * b - a - 3.0 * c + d) * cube)
            };
            line.push((
                of(before.0, one.0, two.0, behind.0),
                of(before.1, one.1, two.1, behind.1),
            ));
        }
    }
    line.extend(points.last());
    line
}

/// Around the first point, through the second.
fn circle(points: &[Point]) -> Vec<Point> {
    let [center, through, ..] = points else {
        return Vec::new();
    };
    let radius = (through.0 - center.0).hypot(through.1 - center.1);
    round(*center, (radius, 0.0), (0.0, radius))
}

/// The ends of the longer axis, then those of the shorter one.
fn ellipse(points: &[Point]) -> Vec<Point> {
    let [a, b, c, d, ..] = points else {
        return Vec::new();
    };
    let center = (f64::midpoint(a.0, b.0), f64::midpoint(a.1, b.1));
    let half = |from: &Point, to: &Point| ((to.0 - from.0) / 2.0, (to.1 - from.1) / 2.0);
    round(center, half(a, b), half(c, d))
}

fn round(center: Point, one: Point, two: Point) -> Vec<Point> {
    let angles = (0..=ROUND_STEPS).map(|step| TAU * f64::from(step) / f64::from(ROUND_STEPS));
    let points = angles.map(|angle| {
        let (sine, cosine) = angle.sin_cos();
        (
            center.0 + one.0 * cosine + two.0 * sine,
            center.1 + one.1 * cosine + two.1 * sine,
        )
    });
    points.collect()
}
