//! A sweep as a picture: throughput above, latency below, the swept values along both. SVG, written by hand.
//!
//! Invariants: pure; every string is escaped; points are evenly spaced in the order swept, whatever the flag.
//! Why: a dozen lines and labels need no drawing library.

mod axis;

use std::fmt::Write as _;

use axis::Axis;

use crate::figures::Figures;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 620.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = WIDTH - 110.0;
/// Top and bottom of the two panels.
const THROUGHPUT: (f64, f64) = (88.0, 290.0);
const LATENCY: (f64, f64) = (352.0, 554.0);

/// One run of a sweep.
pub struct Point {
    /// The flag's value.
    pub value: String,
    /// What came of it.
    pub figures: Figures,
}

/// One line in a panel.
struct Series {
    name: &'static str,
    colour: &'static str,
    values: Vec<Option<f64>>,
}

/// Draws the points of a sweep over `flag`.
pub fn draw(title: &str, flag: &str, points: &[Point]) -> String {
    let series = |name, colour, value: fn(&Figures) -> Option<f64>| Series {
        name,
        colour,
        values: points.iter().map(|point| value(&point.figures)).collect(),
    };
    let rates = [series("msg/s", "#1f5fa8", |figures| Some(figures.msgs_per_s))];
    let latencies = [
        series("p50", "#2a9d5c", |figures| figures.p50_ms),
        series("p99", "#d98e04", |figures| figures.p99_ms),
        series("p99.9", "#c0392b", |figures| figures.p999_ms),
        series("max", "#8a8a8a", |figures| figures.max_ms),
    ];
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    put_text(&mut svg, (LEFT, 28.0), "start", 15, &format!("chronik-bench: sweep of {flag}"));
    put_text(&mut svg, (LEFT, 48.0), "start", 12, title);
    put_panel(&mut svg, THROUGHPUT, "msg/s", &Axis::linear(all(&rates)), &rates, points);
    put_panel(&mut svg, LATENCY, "latency, ms (log)", &Axis::logarithmic(all(&latencies)), &latencies, points);
    put_text(&mut svg, (f64::midpoint(LEFT, RIGHT), LATENCY.1 + 44.0), "middle", 13, flag);
    svg += "</svg>\n";
    svg
}

fn all(series: &[Series]) -> impl Iterator<Item = f64> + Clone {
    series.iter().flat_map(|series| &series.values).flatten().copied()
}

fn put_panel(
    svg: &mut String,
    (top, bottom): (f64, f64),
    name: &str,
    axis: &Axis,
    series: &[Series],
    points: &[Point],
) {
    let y = |value: f64| bottom - axis.place(value) * (bottom - top);
    let x = |index: usize| LEFT + (index as f64 + 0.5) / points.len() as f64 * (RIGHT - LEFT);
    for (value, label) in axis.ticks() {
        let y = y(value);
        let _ = writeln!(svg, "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\" stroke=\"#e3e3e3\"/>");
        put_text(svg, (LEFT - 8.0, y + 4.0), "end", 12, &label);
    }
    let _ = writeln!(svg, "<path d=\"M{LEFT} {top}V{bottom}H{RIGHT}\" fill=\"none\" stroke=\"#555\"/>");
    put_text(svg, (LEFT, top - 8.0), "start", 12, name);
    for (index, point) in points.iter().enumerate() {
        let failed = point.figures.failed > 0;
        let label = if failed { format!("{} (failures)", point.value) } else { point.value.clone() };
        put_text(svg, (x(index), bottom + 18.0), "middle", 12, &label);
    }
    let mut label_ys: Vec<f64> = Vec::new();
    for series in series {
        let places: Vec<(f64, f64)> = series
            .values
            .iter()
            .enumerate()
            .filter_map(|(index, value)| value.map(|value| (x(index), y(value))))
            .collect();
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let (colour, path) = (series.colour, path.join(" "));
        let _ = writeln!(svg, "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        for (x, y) in &places {
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        if let Some((x, y)) = places.last() {
            let y = free_label_y(&label_ys, *y);
            label_ys.push(y);
            let _ = writeln!(svg, "<g fill=\"{colour}\">");
            put_text(svg, (x + 8.0, y + 4.0), "start", 12, series.name);
            svg.push_str("</g>\n");
        }
    }
}

/// The nearest place at or above `y` where a label hides no other. Series come from the lowest line to the highest.
fn free_label_y(taken: &[f64], y: f64) -> f64 {
    taken.iter().fold(y, |y, other| if (y - other).abs() < 13.0 { other - 13.0 } else { y })
}

fn put_text(svg: &mut String, (x, y): (f64, f64), anchor: &str, size: u32, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ =
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(value: &str, msgs_per_s: f64, p50_ms: Option<f64>) -> Point {
        Point { value: value.to_owned(), figures: Figures { msgs_per_s, p50_ms, ..Figures::default() } }
    }

    #[test]
    fn every_point_is_drawn_and_every_tag_closed() {
        let points = [point("1", 100.0, Some(0.1)), point("8", 700.0, Some(0.4)), point("<64>", 4000.0, None)];
        let svg = draw("a & b", "concurrency", &points);
        assert_eq!(svg.matches("<circle").count(), 3 + 2);
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
        assert!(svg.contains("&lt;64&gt;") && svg.contains("a &amp; b") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn a_sweep_without_latencies_or_with_one_point_is_drawn_too() {
        for points in [vec![point("1", 0.0, None)], vec![point("1", 5.0, Some(1.0))]] {
            let svg = draw("", "rate", &points);
            assert!(!svg.contains("NaN") && !svg.contains("inf"));
        }
    }

    #[test]
    fn a_point_with_failures_says_so() {
        let mut failing = point("8", 700.0, Some(0.4));
        failing.figures.failed = 1;
        assert!(draw("", "concurrency", &[failing]).contains("8 (failures)"));
    }

    #[test]
    fn labels_do_not_hide_each_other() {
        let taken = [100.0, 87.0];
        assert!(taken.iter().all(|other| (free_label_y(&taken, 95.0) - other).abs() >= 13.0));
        assert_eq!(free_label_y(&taken, 50.0), 50.0);
    }
}
