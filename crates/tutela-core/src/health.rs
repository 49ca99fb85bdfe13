//! How many answers become one word: of instances a service's, of services the guard's.

/// Health, in the words of DESIGN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// It does its work.
    Up,
    /// It is about to, nobody knows yet.
    Unknown,
    /// It is not in service, on purpose or because it says so itself.
    OutOfService,
    /// It does its work, without something that it depends on.
    Degraded,
    /// It does not do its work, and should.
    Down,
}

impl Health {
    /// Every word, best first.
    pub const ALL: [Health; 5] = [Health::Up, Health::Unknown, Health::OutOfService, Health::Degraded, Health::Down];

    /// The word in status.
    pub const fn word(self) -> &'static str {
        match self {
            Health::Up => "up",
            Health::Unknown => "unknown",
            Health::OutOfService => "out_of_service",
            Health::Degraded => "degraded",
            Health::Down => "down",
        }
    }
}

/// The health of a whole with these parts. One part down of several leaves the whole degraded; of one, down.
pub fn roll_up(parts: impl IntoIterator<Item = Health>) -> Health {
    let (mut worst, mut serving, mut count) = (Health::Up, false, 0usize);
    for part in parts {
        count += 1;
        serving |= matches!(part, Health::Up | Health::Degraded);
        worst = worst.max(part);
    }
    match worst {
        _ if count == 0 => Health::Unknown,
        Health::Down if serving => Health::Degraded,
        Health::OutOfService | Health::Unknown if serving => Health::Degraded,
        other @ (Health::Up | Health::Unknown | Health::OutOfService | Health::Degraded | Health::Down) => other,
    }
}

/// What `/health` says of the whole guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Overall {
    /// Everything wanted does its work.
    Healthy,
    /// Something is on its way, out of service or degraded.
    Warning,
    /// Something is down that should be up.
    Unhealthy,
}

impl Overall {
    /// The word in `/health`.
    pub const fn word(self) -> &'static str {
        match self {
            Overall::Healthy => "healthy",
            Overall::Warning => "warning",
            Overall::Unhealthy => "unhealthy",
        }
    }

    /// What one part means for the whole.
    pub const fn of(part: Health) -> Overall {
        match part {
            Health::Up => Overall::Healthy,
            Health::Unknown | Health::OutOfService | Health::Degraded => Overall::Warning,
            Health::Down => Overall::Unhealthy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_two_instances_down_leaves_the_service_degraded() {
        assert_eq!(roll_up([Health::Up, Health::Down]), Health::Degraded);
        assert_eq!(roll_up([Health::Down, Health::Down]), Health::Down);
        assert_eq!(roll_up([Health::Up, Health::Unknown]), Health::Degraded);
        assert_eq!(roll_up([Health::Unknown]), Health::Unknown);
        assert_eq!(roll_up([Health::Up, Health::Up]), Health::Up);
        assert_eq!(roll_up([]), Health::Unknown);
    }
}
