//! `vfiorun console`.

use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use vfioboot::device::guest::run::ask;
use vfioboot::device::guest::run::signals::Signals;
use vfioboot::device::guest::run::terminal::{LEAVE_NAME, Terminal};
use vfioboot::usage::Matches;

use crate::global::Global;
use crate::outcome::{Answer, Outcome};
use crate::{guests, output};

pub struct Arguments {
    name: Option<String>,
    read_only: bool,
    take: bool,
}

impl Arguments {
    pub fn of(given: &Matches) -> Self {
        let (read_only, take) = (given.has("read-only"), given.has("take"));
        Self { name: guests::named(given), read_only, take }
    }
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let record = guests::choose(global, arguments.name.as_deref())?;
    let directory = guests::directory(global, &record);
    let (console, writes) = ask::console(&directory, !arguments.read_only, arguments.take)?;
    // From here on a signal must not leave the terminal as it is.
    let signals = Signals::hold()?;
    let terminal = if io::stdout().is_terminal() { Terminal::take_over() } else { None };
    let name = &record.name;
    let key = match terminal {
        Some(_) => format!(", {LEAVE_NAME} leaves it"),
        None => String::new(),
    };
    match writes {
        true => output::complain(&format!("the console of {name}{key}")),
        false if arguments.read_only => {
            output::complain(&format!("the console of {name}, read only{key}"));
        }
        false => output::complain(&format!(
            "the console of {name}, read only because somebody else writes (--take){key}"
        )),
    }
    let ended = pass_on(console, writes, &signals, terminal);
    if ended {
        output::complain(&format!("the console of {name} has ended"));
    }
    Ok(Answer::Yes)
}

/// Carries the console until it is left; `true` when it ended by itself.
fn pass_on(
    mut console: UnixStream,
    writes: bool,
    signals: &Signals,
    mut terminal: Option<Terminal>,
) -> bool {
    let stdin = io::stdin();
    let mut open = true;
    let mut buffer = [0; 4096];
    loop {
        let mut fds = vec![
            PollFd::new(signals, PollFlags::IN),
            PollFd::new(&console, PollFlags::IN),
            PollFd::new(&stdin, PollFlags::IN),
        ];
        if !open {
            fds.pop();
        }
        _ = poll(&mut fds, None);
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if signals.stops() > 0 {
            return false;
        }
        if ready.get(1) == Some(&true) {
            match console.read(&mut buffer) {
                Ok(0) => return true,
                Ok(length) => output::console(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
        if ready.get(2) == Some(&true) {
            let (typed, leaves, gone) = match &mut terminal {
                Some(terminal) => terminal.read(),
                None => match rustix::io::read(&stdin, &mut buffer) {
                    Ok(0) | Err(_) => (Vec::new(), false, true),
                    Ok(length) => (buffer.get(..length).unwrap_or_default().to_vec(), false, false),
                },
            };
            open &= !gone;
            if writes && console.write_all(&typed).is_err() {
                return true;
            }
            if leaves {
                return false;
            }
        }
    }
}
