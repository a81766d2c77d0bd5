//! What is learned of uses, and what is not.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn usual() -> Worth {
    Worth::new(Some(SECOND), 10_000)
}

/// `rounds` entries that are hit at each of these intervals and evicted after the last.
fn learned(rounds: u32, seconds: &[u32]) -> Reuse {
    let mut reuse = Reuse::new();
    for _ in 0..rounds {
        reuse.put(usual());
        let mut entry_hits = 0;
        for seconds in seconds {
            reuse.hit(entry_hits, *seconds * SECOND, usual());
            entry_hits += 1;
        }
        reuse.evicted(entry_hits, usual());
    }
    reuse.compute();
    reuse
}

#[test]
fn buckets_lie_between_their_edges() {
    let edges = edges();
    for ms in (0..10_000).chain((0..63).flat_map(|shift| [(1 << shift) - 1, 1 << shift])) {
        let at = bucket(Duration::from_millis(ms));
        assert!(edges[at] <= float(ms), "{ms}");
        assert!(float(ms) < edges[at + 1] || at == BUCKETS - 1, "{ms}");
    }
    assert!(edges.is_sorted());
    assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    assert!(edges[BUCKETS] > 2.0 * 365.0 * 86_400_000.0, "two years");
}

#[test]
fn before_anything_is_known_only_age_counts() {
    let reuse = Reuse::new();
    let mut last = f64::INFINITY;
    for shift in 0..34 {
        let age = Duration::from_millis(1 << shift);
        let density = reuse.density(0, age, usual());
        assert!(0.0 < density && density < last, "{age:?}: 0 < {density} < {last}");
        assert_eq!(density.to_bits(), reuse.density(1000, age, usual()).to_bits());
        last = density;
    }
    let of = |seconds| reuse.density(0, seconds * SECOND, usual());
    assert!((of(10) / of(1000) - 100.0).abs() < 20.0, "{}", of(10) / of(1000));
}

#[test]
fn the_best_rate_is_gittins_index() {
    // A use at the chance of a half within a second, then none for ever.
    let rate = best_rate([(&0.5, &1.0), (&0.0, &100.0)].into_iter());
    assert!((rate - 0.5 / 0.75).abs() < 1e-12, "{rate}");
    // None for a second, then one for certain within the next.
    let rate = best_rate([(&0.0, &1.0), (&1.0, &1.0)].into_iter());
    assert!((rate - 1.0 / 1.5).abs() < 1e-12, "{rate}");
}

#[test]
fn what_is_used_after_a_while_is_worth_most_just_before() {
    let reuse = learned(1000, &[100]);
    let at = |seconds| reuse.density(0, seconds * SECOND, usual());
    assert!(at(90) > 1.2 * at(5), "the use comes nearer: {} {}", at(90), at(5));
    assert!(at(90) > 50.0 * at(300), "it did not come: {} {}", at(90), at(300));
}

#[test]
fn what_is_hit_but_once_is_worth_nothing_after_it() {
    let reuse = learned(1000, &[10]);
    let at = |hits| reuse.density(hits, 5 * SECOND, usual());
    assert!(at(0) > 50.0 * at(1), "{} {}", at(0), at(1));
}

#[test]
fn what_has_many_hits_is_told_from_what_has_none() {
    let mut reuse = Reuse::new();
    for _ in 0..2000 {
        reuse.put(usual());
        reuse.evicted(0, usual());
        reuse.hit(200, 60 * SECOND, usual());
    }
    reuse.refresh();
    let at = |hits| reuse.density(hits, 30 * SECOND, usual());
    assert!(at(100) > 50.0 * at(0), "{} {}", at(100), at(0));
}

#[test]
fn what_is_dear_is_told_from_what_is_cheap() {
    let (cheap, dear) = (usual(), Worth::new(Some(1000 * SECOND), 10_000));
    let mut reuse = Reuse::new();
    for _ in 0..2000 {
        reuse.put(dear);
        reuse.evicted(0, dear);
        reuse.hit(0, 60 * SECOND, cheap);
    }
    reuse.refresh();
    let at = |worth| reuse.density(0, 30 * SECOND, worth);
    assert!(at(cheap) > 50.0 * at(dear), "{} {}", at(cheap), at(dear));
}

#[test]
fn what_is_put_again_would_have_been_hit() {
    let mut evicted = Reuse::new();
    let mut hit = Reuse::new();
    evicted.put(usual());
    hit.put(usual());
    for _ in 0..1000 {
        evicted.evicted(3, usual());
        evicted.put_again(3, 60 * SECOND, usual());
        hit.hit(3, 60 * SECOND, usual());
    }
    evicted.refresh();
    hit.refresh();
    let of = |reuse: &Reuse| reuse.density(3, 30 * SECOND, usual());
    assert!((of(&evicted) / of(&hit) - 1.0).abs() < 1e-9, "{} {}", of(&evicted), of(&hit));
}

#[test]
fn a_cohort_that_is_new_in_its_class_is_judged_by_the_others() {
    let mut reuse = Reuse::new();
    for hits in 0..16 {
        for _ in 0..1000 {
            reuse.hit(hits, 60 * SECOND, usual());
        }
    }
    reuse.refresh();
    let at = |hits| reuse.density(hits, 30 * SECOND, usual());
    assert!(at(16) > 0.5 * at(15), "{} {}", at(16), at(15));
}

#[test]
fn the_past_is_forgotten() {
    let mut reuse = learned(1000, &[10]);
    let before = reuse.density(0, 5 * SECOND, usual());
    for _ in 0..500_000 {
        reuse.evicted(0, usual());
    }
    reuse.refresh();
    let after = reuse.density(0, 5 * SECOND, usual());
    assert!(after < before / 1000.0, "{after} {before}");
    assert!(reuse.classes.iter().all(|class| class.waits < 100_000.0));
}

#[test]
fn densities_follow_soon_after_events() {
    let mut reuse = Reuse::new();
    let mut last = reuse.density(0, SECOND, usual());
    for events in 1..2000_u32 {
        reuse.evicted(0, usual());
        reuse.refresh();
        let density = reuse.density(0, SECOND, usual());
        let due = if events < 256 { events.is_power_of_two() } else { events % 256 == 0 };
        assert_eq!(density < last, due, "after {events} events");
        last = density;
    }
}

#[test]
fn bytes_lead_back() {
    let reuse = learned(1024, &[3, 700]);
    let bytes = reuse.to_bytes();
    assert_eq!(Reuse::from_bytes(&bytes), Some(reuse));
    assert!(bytes.len() < 16 * 1024);
}

#[test]
fn bytes_that_are_not_its_own_are_refused() {
    let bytes = learned(10, &[3]).to_bytes();
    assert_eq!(Reuse::from_bytes(&[]), None);
    assert_eq!(Reuse::from_bytes(&bytes[..bytes.len() - 8]), None);
    assert_eq!(Reuse::from_bytes(&bytes[..bytes.len() - 1]), None);
    assert_eq!(Reuse::from_bytes(&[&bytes[..], &[0; 8]].concat()), None);
    for wrong in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
        let mut bytes = bytes.clone();
        bytes[32..40].copy_from_slice(&wrong.to_le_bytes());
        assert_eq!(Reuse::from_bytes(&bytes), None, "{wrong}");
    }
    let mut bytes = bytes;
    bytes[16..24].copy_from_slice(&f64::NAN.to_le_bytes());
    assert_eq!(Reuse::from_bytes(&bytes), None);
}
