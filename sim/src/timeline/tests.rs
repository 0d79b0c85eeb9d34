//! A page that shows something else than what happened sends its reader the wrong way.

use super::*;
use crate::scenario::tests::parse_example;

const TRACE: &str = "\
# trace 1
0.000000s a start  
0.000000s a clock ahead=0us drift=47ppm 
0.000000s b start  
0.000000s load.1 start  
0.010000s b listen at=10.0.0.2:50051 
0.010000s a listen at=10.0.0.1:5432 
0.020000s a role primary@1
0.020000s a ready primary@1
0.020000s b role standby@1
0.100000s a connect connection=5 from=10.0.0.1:32768 to=10.0.0.2:50051 
0.110000s b accept connection=5 from=10.0.0.1:32768 
# checkpoint 1024 1c60a3453cca5016aa1e2b01ceb54a2f
0.120000s a segment connection=5 side=0 bytes=54 aaaa
0.121000s a segment connection=5 side=0 bytes=60 bbbb
0.130000s b deliver connection=5 side=0 bytes=54 aaaa
0.140000s b deliver connection=5 side=0 bytes=60 bbbb
0.150000s b segment connection=5 side=1 bytes=9 cccc
0.160000s a drop connection=5 side=0 bytes=7 dddd
0.200000s load.1 connect connection=6 from=10.0.0.3:32768 to=10.0.0.1:5432 
0.210000s a accept connection=6 from=10.0.0.3:32768 
0.300000s load.1 invoke #1 load.append on a load[1]+=2
0.310000s load.1 segment connection=6 side=0 bytes=20 eeee
0.311000s load.1 segment connection=6 side=0 bytes=0 
0.320000s a deliver connection=6 side=0 bytes=20 eeee
0.321000s a deliver connection=6 side=0 fin 
0.322000s a segment connection=6 side=1 bytes=0 
0.350000s load.1 failed #1 40001
0.400000s load.1 invoke #2 load.append on a load[1]+=3
0.500000s operator step cut: partition a | b
0.500000s a cut to=b 
0.500000s a cut to=load.1 
0.500000s operator done cut: partition a | b
0.600000s a heal to=load.1 
0.700000s a heal to=b 
0.800000s operator step bad: disk of a: latency 200us, lost 10000 per million
0.800000s operator done bad: disk of a: latency 200us, lost 10000 per million
0.850000s a lost write path=databases/x number=4096 
0.900000s a pause 
0.950000s a resume 
1.000000s a power off 
1.000000s a down without power
1.200000s a restart 
1.200000s a start
1.300000s a ready standby@2
1.400000s operator quiet
1.500000s b said </script><b>x
";

fn bands<'a>(timeline: &'a Timeline, lane: &str) -> Vec<(&'a str, &'a str, Micros, Micros)> {
    let lane = timeline.lanes.iter().position(|known| known.name == lane).unwrap();
    let bands = timeline.bands.iter().filter(|band| band.lane == lane);
    bands
        .map(|band| (band.kind, band.text.as_str(), band.from, band.to))
        .collect()
}

#[test]
fn lanes_are_the_operator_servers_and_clients() {
    let timeline = Timeline::new(TRACE).unwrap();
    let lanes: Vec<_> = timeline
        .lanes
        .iter()
        .map(|lane| (lane.name.as_str(), lane.kind))
        .collect();
    assert_eq!(
        lanes,
        [
            ("operator", "operator"),
            ("a", "server"),
            ("b", "server"),
            ("load.1", "client")
        ]
    );
    assert_eq!((timeline.end, timeline.all_lines), (1_500_000, 45));
}

#[test]
fn bands_say_what_was_so_and_for_how_long() {
    let timeline = Timeline::new(TRACE).unwrap();
    assert_eq!(
        bands(&timeline, "a"),
        [
            ("primary", "primary@1", 20_000, 1_000_000),
            ("cut", "cannot send to b, load.1", 500_000, 600_000),
            ("cut", "cannot send to b", 600_000, 700_000),
            (
                "disk",
                "disk: latency 200us, lost 10000 per million",
                800_000,
                1_400_000
            ),
            ("paused", "paused", 900_000, 950_000),
            ("down", "without power", 1_000_000, 1_200_000),
            ("standby", "standby@2", 1_300_000, 1_500_000),
        ]
    );
    assert_eq!(bands(&timeline, "b"), [("standby", "standby@1", 20_000, 1_500_000)]);
    assert!(bands(&timeline, "load.1").is_empty());
}

/// A store on its own has no process to start again: it is down until it is opened.
#[test]
fn a_store_lives_from_opening_to_its_end() {
    let timeline = Timeline::new(
        "# trace 1\n0.100000s store opened and created\n0.200000s store commit 7: t0[1]=7000/3\n0.210000s store committed 7 as root 3\n\
         0.300000s store kill path= number=0\n0.300000s store ended killed\n0.400000s store opened\n0.500000s store done\n",
    )
    .unwrap();
    assert_eq!(
        bands(&timeline, "store"),
        [
            ("up", "open", 100_000, 300_000),
            ("down", "killed", 300_000, 400_000),
            ("up", "open", 400_000, 500_000),
        ]
    );
    let span = &timeline.spans[0];
    assert_eq!(
        (span.from, span.to, span.outcome.as_str()),
        (200_000, Some(210_000), "committed")
    );
}

#[test]
fn messages_go_from_who_sent_them_to_who_got_them_or_to_a_cross() {
    let timeline = Timeline::new(TRACE).unwrap();
    let arrows = timeline.arrows.iter();
    let arrows: Vec<_> = arrows
        .map(|arrow| {
            (
                arrow.from,
                arrow.to,
                arrow.sent,
                arrow.arrived,
                arrow.class,
                arrow.bytes,
            )
        })
        .collect();
    assert_eq!(
        arrows,
        [
            (1, 2, 120_000, 130_000, "cluster", 54),
            (1, 2, 121_000, 140_000, "cluster", 60),
            // Never delivered, and dropped at once.
            (2, 1, 150_000, 150_000, "lost", 9),
            (1, 2, 160_000, 160_000, "lost", 7),
            (3, 1, 310_000, 320_000, "sql", 20),
            // The end of a stream, and one that nobody waited for any more.
            (3, 1, 311_000, 321_000, "sql", 0),
        ]
    );
    assert!(timeline.lines[timeline.arrows[0].line.unwrap()].3.ends_with("aaaa"));
}

#[test]
fn statements_and_steps_have_a_beginning_an_end_and_an_outcome() {
    let timeline = Timeline::new(TRACE).unwrap();
    let spans: Vec<_> = timeline
        .spans
        .iter()
        .map(|span| (span.lane, span.from, span.to, span.outcome.as_str()))
        .collect();
    assert_eq!(
        spans,
        [
            (3, 300_000, Some(350_000), "failed"),
            (3, 400_000, None, ""),
            (0, 500_000, Some(500_000), "done"),
            (0, 800_000, Some(800_000), "done"),
        ]
    );
    let marked = |kind: &str| {
        timeline
            .marks
            .iter()
            .filter(|(line, _)| timeline.lines[*line].2 == kind)
            .count()
    };
    assert_eq!(
        (
            marked("invoke"),
            marked("segment"),
            marked("lost write"),
            marked("said")
        ),
        (0, 0, 1, 1)
    );
}

#[test]
fn of_many_messages_those_that_are_close_are_drawn_as_one() {
    let mut text =
        "0.000000s a listen at=10.0.0.1:5432 \n0.000000s l.1 connect connection=1 from=10.0.0.2:1 to=10.0.0.1:5432 \n"
            .to_owned();
    for number in 0..1_000_u64 {
        let at = number * 100;
        text.push_str(&format!(
            "0.{at:06}s l.1 segment connection=1 side=0 bytes=10 {number}\n"
        ));
        text.push_str(&format!("0.{at:06}s a deliver connection=1 side=0 bytes=10 {number}\n"));
    }
    let events: Vec<Line<'_>> = text.lines().filter_map(Line::parse).collect();
    let lanes = Lanes::of(&events);
    let finish = |most| {
        let mut messages = Messages::default();
        for line in &events {
            messages.observe(line, lanes.of_node(line.node), &lanes, None);
        }
        messages.finish(100_000, most)
    };
    assert_eq!((finish(1_000).0.len(), finish(1_000).1), (1_000, 0));
    let (arrows, within) = finish(50);
    assert!(arrows.len() <= 50 && within > 0, "{} within {within}", arrows.len());
    assert_eq!(
        arrows
            .iter()
            .map(|arrow| (arrow.count, arrow.bytes))
            .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)),
        (1_000, 10_000)
    );
}

#[test]
fn the_page_needs_nothing_else_and_nothing_in_a_trace_can_leave_its_place() {
    let plan = Plan::new(&parse_example(), 3);
    let verdict = Verdict::Failed {
        check: "durability".to_owned(),
        what: "value 41 is absent".to_owned(),
    };
    let timeline = Timeline::new(TRACE).unwrap().of_run(&plan, &verdict, Some(1_000));
    assert_eq!(timeline.failed_at, Some(1_000));
    let page = timeline.page();
    for placeholder in ["{{style}}", "{{script}}", "{{data}}"] {
        assert!(!page.contains(placeholder), "{placeholder}");
    }
    assert!(page.contains("durability: value 41 is absent") && page.contains("example --seed 3"));
    assert!(!page.contains("</script><b>x"), "the trace ends the script");
    assert_eq!(page.matches("<script").count(), page.matches("</script>").count());
    for outside in [
        "http://",
        "https://",
        "src=",
        "@import",
        "url(",
        "fetch(",
        "XMLHttpRequest",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
    // What the page reads is what was told.
    let data = page.split_once("type=\"application/json\">").unwrap().1;
    let data = data.split_once("</script>").unwrap().0;
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["lanes"].as_array().unwrap().len(), 4);
    assert_eq!(data["lines"][44][3], "</script><b>x");
}

#[test]
fn what_is_no_trace_draws_nothing() {
    assert!(Timeline::new("# trace 1\nplan: x\nhello\n").unwrap().is_empty() && Timeline::new("hello").is_err());
    assert!(!Timeline::new(TRACE).unwrap().is_empty());
}
