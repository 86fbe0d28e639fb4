//! The ranks that MPI's launcher has started, on one machine or many.

use super::group::Group;
use super::shards::add;
use ::mpi::Threading;
use ::mpi::collective::SystemOperation;
use ::mpi::environment::Universe;
use ::mpi::point_to_point::send_receive_into;
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::*;
use ir::Diagnostic;
use ir::diag::Class;

pub struct Mpi {
    world: SimpleCommunicator,
    /// Until the end.
    universe: Option<Universe>,
}

impl Mpi {
    /// Waits for the other ranks.
    ///
    /// Errors: E0800 if this process has joined before. What MPI itself cannot do, it says, and ends all ranks.
    pub fn join() -> Result<Mpi, Diagnostic> {
        let Some((universe, _)) = ::mpi::initialize_with_threading(Threading::Funneled) else {
            let d = Diagnostic::error("E0800", "MPI was begun before").class(Class::Internal);
            return Err(d.help("this is a bug of rescc: please report it"));
        };
        Ok(Mpi { world: universe.world(), universe: Some(universe) })
    }
}

impl Group for Mpi {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn sum(&self, values: &mut [f32]) {
        let (rank, size) = (self.rank(), self.size());
        let mut theirs = vec![0.0; if size > 1 { values.len() } else { 0 }];
        let mut distance = 1;
        while distance < size {
            let partner = self.world.process_at_rank((rank ^ distance) as i32);
            send_receive_into(&*values, &partner, &mut theirs[..], &partner);
            // Both add the same two numbers, and which of them comes first changes no bit.
            add(values, &theirs);
            distance *= 2;
        }
    }

    fn most(&self, words: &mut [u64]) {
        let mine = words.to_vec();
        self.world.all_reduce_into(&mine[..], words, SystemOperation::max());
    }
}

impl Drop for Mpi {
    /// Waits until the other ranks end too. One that panics does not: the launcher ends them when it is gone.
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::mem::forget(self.universe.take());
        }
    }
}
