//! The world around the guard: a queue of what is going to happen, process trees, and hands that are slow,
//! overtake each other and never lose a word.
//!
//! The world is the truth: which processes live is known here and nowhere else. What the guard hears of it are
//! [`Input`]s that come late and in any order, but for one promise of the real conductor: `Spawned` of a run
//! comes before its `Exited`.

mod hands;
mod lives;
mod program;

pub use lives::Program as Kept;

use crate::dice::Dice;
use program::{Child, Program};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tutela_core::guard::{Guard, Input};
use tutela_core::names::{InstanceId, InstanceKey, RunId};
use tutela_core::service::{Exit, HookOutcome, Notice, ProbeSlot, Survivor};
use tutela_core::spec::{ProbeKind, StopStep};
use tutela_core::time::Moment;

/// One life of one instance.
type Life = (InstanceKey, RunId);

/// Something that is going to happen.
#[derive(Debug, Clone)]
pub enum Happening {
    /// News reach the guard.
    News(InstanceKey, Input),
    /// The hands get to an action, or a program does something: the world's own business.
    World(Deed),
    /// An operator asks for something.
    Operator,
    /// The computer is suspended.
    Suspend,
    /// The conductor does not get the processor for a while.
    Stall,
    /// From here on everybody behaves and nobody asks for anything.
    Calm,
    /// A look at whether everything has come to where it belongs.
    Look,
    /// The guard is killed.
    Kill,
}

/// What hands and programs do.
#[derive(Debug, Clone)]
pub enum Deed {
    /// The spawner gets to a start.
    Spawn(Life),
    /// A request reaches the main process.
    Ask(Life, StopStep),
    /// A request reaches everything of the tree.
    AskTree(Life),
    /// The hands look at what is left of a tree.
    Sweep(Life),
    /// The tree is killed.
    Kill(Life),
    /// A program's own doing. The number tells whether the plan that it is part of still holds.
    Plan(Life, u32, Step),
    /// The main process ends.
    Exit(Life, Exit),
    /// A descendant ends.
    ChildEnds(Life, u32),
    /// A hook ends by itself.
    HookEnds(InstanceKey, u64, HookOutcome),
    /// A probe gets its answer.
    Answer(Life, ProbeSlot, u64),
}

/// What a program does by itself.
#[derive(Debug, Clone)]
pub enum Step {
    /// It begins to listen.
    Listen,
    /// It begins to fail.
    Sicken,
    /// It feeds its watchdog, and will again.
    Ping(Duration),
    /// It says something.
    Say(Notice),
    /// It ends.
    End(Exit),
}

#[derive(Debug)]
struct Tree {
    id: InstanceId,
    pid: u32,
    program: Program,
    plan: u32,
    main_lives: bool,
    children: Vec<Child>,
    listening: bool,
    sick: bool,
    frozen: bool,
    /// What came while it was frozen.
    held: Vec<Deed>,
    /// When the guard hears of its start.
    start_told: Moment,
    /// Somebody waits for the news that it is empty.
    watched: bool,
    /// It is in the safe: it outlives its guard.
    deposited: bool,
    /// It was started by an earlier guard.
    taken: bool,
    /// How its main process ended.
    ended: Option<Exit>,
    /// A guard has seen the line that log probes wait for.
    line_seen: bool,
}

#[derive(Debug)]
struct HookRun {
    number: u64,
    run: RunId,
    ended: bool,
}

/// A probe's question that the guard has no answer for.
#[derive(Debug)]
struct Question {
    run: RunId,
    attempt: u64,
    asked: Moment,
    /// When the machine may give it up.
    expires: Moment,
}

/// The world. See the module's text.
#[derive(Debug)]
pub struct World {
    /// The moment.
    pub now: Moment,
    queue: BTreeMap<(Moment, u64), Happening>,
    sequence: u64,
    trees: BTreeMap<Life, Tree>,
    /// Starts that the guard has no answer for.
    spawning: BTreeSet<Life>,
    /// Hooks that the guard has no answer for.
    hooks: BTreeMap<InstanceKey, HookRun>,
    released: BTreeSet<Life>,
    questions: BTreeMap<(InstanceKey, ProbeSlot), Question>,
    dice: Dice,
    calm: bool,
    next_pid: u32,
    next_hook: u64,
    /// Nobody listens: between two guards.
    unguarded: bool,
    /// What programs said meanwhile.
    said: Vec<(Life, Notice)>,
    /// What was of an instance before this guard: its run, of which there may be nothing any more.
    earlier: BTreeMap<InstanceKey, RunId>,
    /// Whether the OS tells how a program ended that this guard did not start.
    tells_ends: bool,
    /// Whether trees are control groups: one that is empty is gone.
    groups: bool,
}

impl World {
    /// An empty world at this moment.
    pub fn new(now: Moment, mut dice: Dice) -> Self {
        let (tells_ends, groups) = (dice.percent(50), dice.percent(70));
        World {
            now,
            queue: BTreeMap::new(),
            sequence: 0,
            trees: BTreeMap::new(),
            spawning: BTreeSet::new(),
            hooks: BTreeMap::new(),
            released: BTreeSet::new(),
            questions: BTreeMap::new(),
            dice,
            calm: false,
            next_pid: 1_000,
            next_hook: 0,
            unguarded: false,
            said: Vec::new(),
            earlier: BTreeMap::new(),
            tells_ends,
            groups,
        }
    }

    /// Puts something on the queue, `after` from this moment. Of two for one moment the first stays the first.
    pub fn plan(&mut self, after: Duration, what: Happening) {
        self.plan_at(self.now + after, what);
    }

    fn plan_at(&mut self, at: Moment, what: Happening) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), what);
    }

    /// When the next thing happens.
    pub fn next_at(&self) -> Option<Moment> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next thing that happens, off the queue.
    pub fn take_next(&mut self) -> Option<Happening> {
        self.queue.pop_first().map(|(_, what)| what)
    }

    /// The computer sleeps: nothing happens meanwhile, and everything that was to happen does so later.
    pub fn sleep(&mut self, span: Duration) {
        for tree in self.trees.values_mut().filter(|tree| tree.start_told >= self.now) {
            tree.start_told = tree.start_told + span;
        }
        self.now = self.now + span;
        self.queue =
            std::mem::take(&mut self.queue).into_iter().map(|((at, n), what)| ((at + span, n), what)).collect();
        for question in self.questions.values_mut() {
            question.expires = question.expires + span;
        }
    }

    /// The guard is about to hear `input`: what was owed no longer is.
    pub fn told(&mut self, key: InstanceKey, input: &Input) {
        match input {
            Input::Spawned { run, .. } | Input::SpawnFailed { run, .. } => {
                self.spawning.remove(&(key, *run));
            }
            Input::HookDone { run, .. } => {
                if self.hooks.get(&key).is_some_and(|hook| hook.ended && hook.run == *run) {
                    self.hooks.remove(&key);
                }
            }
            Input::Answer { run, slot, attempt, .. } => {
                let open = self.questions.get(&(key, *slot));
                if open.is_some_and(|open| open.run == *run && open.attempt == *attempt) {
                    self.questions.remove(&(key, *slot));
                }
            }
            Input::Exited { .. }
            | Input::TreeEmpty { .. }
            | Input::TreeLeft { .. }
            | Input::Undelivered { .. }
            | Input::TreeKilled { .. }
            | Input::LogMatch { .. }
            | Input::Notice { .. } => {}
        }
    }

    /// The guard has heard `input`, and has noted what follows from it.
    pub fn heard(&mut self, key: InstanceKey, input: &Input) {
        if let Input::LogMatch { run, .. } = input
            && let Some(tree) = self.trees.get_mut(&(key, *run))
        {
            tree.line_seen = true;
        }
    }

    // ---- the truth ----

    /// How many trees of an instance have a living process.
    pub fn living_trees(&self, id: &InstanceId) -> usize {
        self.trees.values().filter(|tree| tree.id == *id && tree.lives()).count()
    }

    /// Whether anything lives at all.
    pub fn is_empty(&self) -> bool {
        !self.trees.values().any(Tree::lives)
    }

    /// Whether the hands owe this instance the answer to a start.
    pub fn owes_spawn(&self, key: InstanceKey) -> bool {
        self.spawning.range((key, RunId(0))..=(key, RunId(u64::MAX))).next().is_some()
    }

    /// Whether the hands owe this instance the end of a hook.
    pub fn owes_hook(&self, key: InstanceKey) -> bool {
        self.hooks.contains_key(&key)
    }

    // ---- calm ----

    /// From here on everybody behaves; who already lives begins to.
    pub fn calm_down(&mut self, guard: &Guard) {
        self.calm = true;
        let lives: Vec<Life> = self.trees.keys().copied().collect();
        for life in lives {
            let Some((_, service)) = guard.instance(life.0) else { continue };
            let spec = service.spec().clone();
            let Some(tree) = self.trees.get_mut(&life) else { continue };
            tree.program = Program { ends: None, ..Program::tame(&mut self.dice, &spec) };
            tree.plan += 1;
            tree.sick = false;
            let children: Vec<u32> = tree.children.iter().map(|child| child.pid).collect();
            for child in &mut tree.children {
                child.obeys = Some(Duration::ZERO);
                child.stuck = Duration::ZERO;
                child.follows = true;
            }
            if tree.main_lives {
                self.begin_plan(life);
            } else {
                for pid in children {
                    self.deed(Duration::from_millis(1), Deed::ChildEnds(life, pid));
                }
            }
        }
    }

    // ---- what happens ----

    /// Something of the world's own happens. Answers a sentence when it broke a law.
    ///
    /// # Errors
    /// The law that was broken.
    pub fn act(&mut self, deed: Deed, guard: &Guard) -> Result<(), String> {
        match deed {
            Deed::Spawn(life) => return self.spawn(life, guard),
            Deed::Ask(life, step) => self.ask(life, step),
            Deed::AskTree(life) => self.ask_tree(life),
            Deed::Sweep(life) => return self.sweep(life),
            Deed::Kill(life) => return self.kill(life),
            Deed::Plan(life, plan, step) => self.step(life, plan, step, guard),
            Deed::Exit(life, exit) => self.exit(life, exit),
            Deed::ChildEnds(life, pid) => self.child_ends(life, pid),
            Deed::HookEnds(key, number, outcome) => self.hook_ends(key, number, outcome),
            Deed::Answer(life, slot, attempt) => self.answer(life, slot, attempt, guard),
        }
        Ok(())
    }

    fn deed(&mut self, after: Duration, deed: Deed) {
        self.plan(after, Happening::World(deed));
    }

    /// How long hands take: mostly next to nothing, now and then annoyingly long.
    fn latency(&mut self) -> Duration {
        match self.dice.below(100) {
            0..=4 if !self.calm => self.dice.millis(0, 800),
            _ => Duration::from_micros(self.dice.below(4_000)),
        }
    }

    fn news(&mut self, key: InstanceKey, input: Input) {
        if self.unguarded {
            // Its socket keeps what a program says, its pipe what it writes, and its process how it ended.
            if let Input::Notice { run, notice } = input {
                self.said.push(((key, run), notice));
            }
            return;
        }
        let after = self.latency();
        self.plan(after, Happening::News(key, input));
    }

    fn spawn(&mut self, life: Life, guard: &Guard) -> Result<(), String> {
        let (key, run) = life;
        let Some((id, service)) = guard.instance(key) else {
            return Err(format!("{key:?} is being started and not there any more"));
        };
        if self.living_trees(id) > 0 {
            return Err(format!("{id} gets a second living tree"));
        }
        if !self.calm && self.dice.percent(8) {
            self.news(key, Input::SpawnFailed { run, reason: "no such file".to_owned() });
            return Ok(());
        }
        let pid = self.next_pid;
        self.next_pid += 10;
        let program = if self.calm {
            Program::tame(&mut self.dice, service.spec())
        } else {
            Program::wild(&mut self.dice, service.spec(), pid)
        };
        let start_told = self.now + self.latency();
        if !self.unguarded {
            self.plan_at(start_told, Happening::News(key, Input::Spawned { run, pid }));
        }
        let tree = Tree {
            id: id.clone(),
            pid,
            plan: 0,
            main_lives: true,
            children: program.children.clone(),
            program,
            listening: false,
            sick: false,
            frozen: false,
            held: Vec::new(),
            start_told,
            watched: false,
            deposited: true,
            taken: false,
            ended: None,
            line_seen: false,
        };
        if self.trees.insert(life, tree).is_some() {
            return Err(format!("{id} is started twice in one run"));
        }
        self.begin_plan(life);
        Ok(())
    }

    fn begin_plan(&mut self, life: Life) {
        let Some(tree) = self.trees.get(&life) else { return };
        let plan = tree.plan;
        let program = &tree.program;
        let mut steps: Vec<(Duration, Step)> = Vec::new();
        steps.extend(program.listens.map(|after| (after, Step::Listen)));
        steps.extend(program.sickens.map(|after| (after, Step::Sicken)));
        steps.extend(program.pings.map(|every| (Duration::ZERO, Step::Ping(every))));
        steps.extend(program.says.clone().map(|(after, notice)| (after, Step::Say(notice))));
        steps.extend(program.ends.clone().map(|(after, exit)| (after, Step::End(exit))));
        for (after, step) in steps {
            self.deed(after, Deed::Plan(life, plan, step));
        }
    }

    fn step(&mut self, life: Life, plan: u32, step: Step, guard: &Guard) {
        let Some(tree) = self.trees.get_mut(&life) else { return };
        if !tree.main_lives || tree.plan != plan {
            return;
        }
        if tree.frozen {
            tree.held.push(Deed::Plan(life, plan, step));
            return;
        }
        let (key, run) = life;
        match step {
            Step::Listen => {
                tree.listening = true;
                self.news(key, Input::Notice { run, notice: Notice::Ready });
                let probes = guard.instance(key).into_iter().flat_map(|(_, service)| service.probes());
                let logs: Vec<ProbeSlot> = probes
                    .filter(|(.., probe)| probe.spec().target.kind() == ProbeKind::Log)
                    .map(|(slot, ..)| slot)
                    .collect();
                for slot in logs {
                    self.news(key, Input::LogMatch { run, slot });
                }
            }
            Step::Sicken => tree.sick = true,
            Step::Ping(every) => {
                // A sick program hangs; its watchdog is what notices.
                if !tree.sick {
                    self.news(key, Input::Notice { run, notice: Notice::Watchdog });
                }
                self.deed(every, Deed::Plan(life, plan, Step::Ping(every)));
            }
            Step::Say(notice) => self.news(key, Input::Notice { run, notice }),
            Step::End(exit) => self.exit(life, exit),
        }
    }

    fn exit(&mut self, life: Life, exit: Exit) {
        let Some(tree) = self.trees.get_mut(&life) else { return };
        if !std::mem::replace(&mut tree.main_lives, false) {
            return;
        }
        tree.listening = false;
        tree.ended = Some(exit.clone());
        let exit = if tree.taken && !self.tells_ends { Exit::Unknown } else { exit };
        let told = tree.start_told;
        let following: Vec<u32> = tree.children.iter().filter(|child| child.follows).map(|child| child.pid).collect();
        for pid in following {
            let after = self.dice.millis(0, 300);
            self.deed(after, Deed::ChildEnds(life, pid));
        }
        if !self.unguarded {
            let at = told.max(self.now) + self.latency();
            self.plan_at(at, Happening::News(life.0, Input::Exited { run: life.1, exit }));
        }
        self.tell_if_empty(life);
    }

    fn child_ends(&mut self, life: Life, pid: u32) {
        let Some(tree) = self.trees.get_mut(&life) else { return };
        tree.children.retain(|child| child.pid != pid);
        self.tell_if_empty(life);
    }

    fn tell_if_empty(&mut self, (key, run): Life) {
        let Some(tree) = self.trees.get_mut(&(key, run)) else { return };
        if !tree.lives() && std::mem::take(&mut tree.watched) {
            self.news(key, Input::TreeEmpty { run });
        }
    }
}

impl Tree {
    fn lives(&self) -> bool {
        self.main_lives || !self.children.is_empty()
    }

    fn processes(&self) -> Vec<Survivor> {
        let main = self.main_lives.then(|| Survivor { pid: self.pid, name: "main".to_owned() });
        let children = self.children.iter().map(|child| Survivor { pid: child.pid, name: "child".to_owned() });
        main.into_iter().chain(children).collect()
    }
}
