//! Entrants that take turns: A B A B, so that what disturbs the machine disturbs all of them alike.

use std::time::Instant;

use rayon::ThreadPool;
use twinpath_evidence::bench::{Entrant, Group, Quantity, Ratio, Spread, Target, Warning};

use crate::error::LabError;

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Whether smaller cases stand in for large ones.
    pub quick: bool,
    /// Rounds of short work, at least.
    pub rounds: usize,
    /// Rounds of work that takes longer than `patience` all in all.
    pub long_rounds: usize,
    /// Seconds after which a group may end.
    pub seconds: f64,
    /// Seconds that the least number of rounds may take.
    pub patience: f64,
}

impl Pace {
    /// For figures that are kept.
    pub const FULL: Pace = Pace { quick: false, rounds: 9, long_rounds: 5, seconds: 1.0, patience: 30.0 };
    /// For a first look.
    pub const QUICK: Pace = Pace { quick: true, rounds: 5, long_rounds: 2, seconds: 0.2, patience: 2.0 };
}

/// Rounds beyond which a median gains nothing.
const MOST_ROUNDS: usize = 51;
/// Rounds below which a median is doubted.
const FEW_ROUNDS: usize = 5;
/// A turn is repeated until it takes as long as this: the clock and one disturbance must be small beside it.
const TURN_SECONDS: f64 = 4e-3;
/// Quartiles that are further apart, by the median, are doubted.
const NOISY: f64 = 0.10;

/// Who takes part.
pub(super) struct Racer<'r> {
    name: String,
    pool: &'r ThreadPool,
    turn: Turn<'r>,
}

/// Does some work and says how much, in the group's unit times seconds.
type Turn<'r> = Box<dyn FnMut() -> Result<f64, LabError> + Send + 'r>;

impl<'r> Racer<'r> {
    /// `turn` runs on the threads of `pool`.
    pub(super) fn new(
        name: impl Into<String>,
        pool: &'r ThreadPool,
        turn: impl FnMut() -> Result<f64, LabError> + Send + 'r,
    ) -> Self {
        Racer { name: name.into(), pool, turn: Box::new(turn) }
    }
}

/// A group in the making.
pub(super) struct Race<'r> {
    /// Of the measure.
    pub(super) measure: &'static str,
    /// What is done.
    pub(super) name: String,
    /// Of the rates.
    pub(super) unit: &'static str,
    /// In the order of their turns.
    pub(super) racers: Vec<Racer<'r>>,
    /// What to tell of them.
    pub(super) questions: Vec<Question>,
}

/// A ratio to form.
pub(super) struct Question {
    of: String,
    to: String,
    quantity: Quantity,
    target: Option<Target>,
}

impl<'r> Race<'r> {
    pub(super) fn new(measure: &'static str, name: impl Into<String>, unit: &'static str) -> Self {
        Race { measure, name: name.into(), unit, racers: Vec::new(), questions: Vec::new() }
    }

    pub(super) fn racer(
        &mut self,
        name: impl Into<String>,
        pool: &'r ThreadPool,
        turn: impl FnMut() -> Result<f64, LabError> + Send + 'r,
    ) {
        self.racers.push(Racer::new(name, pool, turn));
    }

    /// How fast `of` is beside `to`.
    pub(super) fn speed(&mut self, of: &str, to: &str, target: Option<f64>) {
        self.ask(of, to, Quantity::Speed, target.map(Target::AtLeast));
    }

    /// How long `of` takes beside `to`.
    pub(super) fn time(&mut self, of: &str, to: &str, target: Option<f64>) {
        self.ask(of, to, Quantity::Time, target.map(Target::AtMost));
    }

    fn ask(&mut self, of: &str, to: &str, quantity: Quantity, target: Option<Target>) {
        self.questions.push(Question { of: of.to_owned(), to: to.to_owned(), quantity, target });
    }

    /// Lets everybody run in each round, after one turn that is not counted.
    ///
    /// # Errors
    /// What a turn returns.
    pub(super) fn run(mut self, pace: Pace, warnings: &mut Vec<Warning>) -> Result<Group, LabError> {
        let begin = Instant::now();
        let mut repeats = Vec::new();
        for racer in &mut self.racers {
            let (_, seconds) = racer.sample(1)?;
            repeats.push((TURN_SECONDS / seconds.max(1e-9)).ceil().clamp(1.0, 1e6) as usize);
        }
        let warm = begin.elapsed().as_secs_f64();
        let least = if warm * pace.rounds as f64 > pace.patience { pace.long_rounds } else { pace.rounds };
        let mut rates: Vec<Vec<f64>> = vec![Vec::new(); self.racers.len()];
        let begin = Instant::now();
        for round in 0..MOST_ROUNDS {
            if round >= least && begin.elapsed().as_secs_f64() > pace.seconds {
                break;
            }
            for ((racer, rates), repeats) in self.racers.iter_mut().zip(&mut rates).zip(&repeats) {
                let (work, seconds) = racer.sample(*repeats)?;
                rates.push(work / seconds);
            }
        }
        Ok(self.group(&rates, warnings))
    }

    fn group(&self, rates: &[Vec<f64>], warnings: &mut Vec<Warning>) -> Group {
        let rounds = rates.first().map_or(0, Vec::len);
        let group = format!("{} {}", self.measure, self.name);
        if rounds < FEW_ROUNDS {
            warnings.push(Warning::FewRounds { group: group.clone(), rounds });
        }
        let mut entrants = Vec::new();
        for (racer, rates) in self.racers.iter().zip(rates) {
            let Some(rate) = Spread::of(rates) else { continue };
            if rate.relative() > NOISY {
                let (group, entrant) = (group.clone(), racer.name.clone());
                warnings.push(Warning::Noisy { group, entrant, spread: rate.relative() });
            }
            entrants.push(Entrant { name: racer.name.clone(), threads: racer.pool.current_num_threads(), rate });
        }
        let of = |name: &str| self.racers.iter().position(|r| r.name == name).map(|i| &rates[i]);
        let ratio = |q: &Question| {
            let (of, to) = (of(&q.of)?, of(&q.to)?);
            let rounds: Vec<f64> = match q.quantity {
                Quantity::Speed => of.iter().zip(to).map(|(of, to)| of / to).collect(),
                Quantity::Time => of.iter().zip(to).map(|(of, to)| to / of).collect(),
            };
            let (quantity, target) = (q.quantity, q.target);
            Some(Ratio { of: q.of.clone(), to: q.to.clone(), quantity, ratio: Spread::of(&rounds)?, target })
        };
        Group {
            measure: self.measure.to_owned(),
            name: self.name.clone(),
            unit: self.unit.to_owned(),
            rounds,
            entrants,
            ratios: self.questions.iter().filter_map(ratio).collect(),
        }
    }
}

impl Racer<'_> {
    /// Work done by some turns, and the seconds they took.
    fn sample(&mut self, repeats: usize) -> Result<(f64, f64), LabError> {
        let turn = &mut self.turn;
        self.pool.install(|| {
            let start = Instant::now();
            let mut work = 0.0;
            for _ in 0..repeats {
                work += turn()?;
            }
            Ok((work, start.elapsed().as_secs_f64()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn pool(threads: usize) -> ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    const PACE: Pace = Pace { quick: true, rounds: 3, long_rounds: 2, seconds: 0.0, patience: 60.0 };

    #[test]
    fn turns_alternate_and_each_ratio_is_formed_within_a_round() {
        let (one, two, order) = (pool(1), pool(2), Mutex::new(String::new()));
        let mut race = Race::new("test", "ab", "1/s");
        // Longer than a turn must be, so that no turn is repeated.
        for (name, work, pool) in [("a", 1.0, &one), ("b", 4.0, &two)] {
            let order = &order;
            race.racer(name, pool, move || {
                order.lock().unwrap().push_str(name);
                std::thread::sleep(std::time::Duration::from_secs_f64(3.0 * TURN_SECONDS));
                Ok(work)
            });
        }
        race.speed("b", "a", Some(1.5));
        race.time("b", "a", None);
        race.speed("b", "nobody", None);
        let group = race.run(PACE, &mut Vec::new()).unwrap();
        assert_eq!(order.lock().unwrap().as_str(), "abababab");
        assert_eq!((group.rounds, group.entrants.len(), group.ratios.len()), (3, 2, 2));
        assert_eq!((group.entrants[0].threads, group.entrants[1].threads), (1, 2));
        // Sleeping takes at least as long as asked; what it takes longer cancels up to the same factor.
        let product = group.ratios[0].ratio.median * group.ratios[1].ratio.median;
        assert!((product - 1.0).abs() < 1e-9, "{product}");
    }

    #[test]
    fn an_error_of_a_turn_ends_the_race() {
        let one = pool(1);
        let mut race = Race::new("test", "error", "1/s");
        race.racer("a", &one, || Err(LabError::Threads { why: "none".to_owned() }));
        assert!(race.run(PACE, &mut Vec::new()).is_err());
    }

    #[test]
    fn few_and_scattered_rounds_are_doubted() {
        let one = pool(1);
        let mut race = Race::new("test", "doubts", "1/s");
        race.racer("a", &one, || Ok(1.0));
        let mut warnings = Vec::new();
        race.group(&[vec![1.0, 2.0, 3.0]], &mut warnings);
        assert!(matches!(warnings[..], [Warning::FewRounds { rounds: 3, .. }, Warning::Noisy { .. }]), "{warnings:?}");
        warnings.clear();
        race.group(&[vec![1.0; 9]], &mut warnings);
        assert_eq!(warnings, []);
    }
}
