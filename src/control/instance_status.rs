//! How the whole process fares, for whoever runs it.

use super::{
    actor::Actor,
    error::ControlError,
    instance::Control,
    permit::{Capability, Scope, permit},
};
use crate::{base::now, snapshot::ProjectPart, store::Health};

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Its number, from 0.
    pub id: usize,
    /// Whether it has been heard of lately.
    pub alive: bool,
    /// Generation of the snapshot that it serves; 0 before the first.
    pub generation: u64,
    /// Client connections open now.
    pub connections: u64,
    /// Streams being relayed now.
    pub streams: u64,
    /// Usage records that were lost because the queue was full, since the start.
    pub dropped_rows: u64,
}

/// Projects in the snapshot, by their state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProjectCounts {
    /// Served.
    pub served: usize,
    /// Stored as served, but answering 503 because they do not compile.
    pub broken: usize,
    /// Archived.
    pub archived: usize,
}

/// How the process fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceStatus {
    /// Generation of the snapshot that is published.
    pub generation: u64,
    /// Replaced snapshots that a request or stream still uses.
    pub old_generations: usize,
    /// Each worker.
    pub workers: Vec<WorkerStatus>,
    /// Usage records that wait.
    pub queue_depth: usize,
    /// Projects in the snapshot.
    pub projects: ProjectCounts,
    /// Whether the store can be read and written.
    pub store: Health,
    /// Values that are not sealed under the current master key yet; none when the store cannot be read.
    pub stale_seals: Option<u64>,
}

impl Control {
    /// How the process fares. Answers also while the store fails.
    ///
    /// # Errors
    /// As [`permit`].
    pub async fn instance_status(&self, actor: &Actor) -> Result<InstanceStatus, ControlError> {
        permit(actor, Capability::InstanceSettings, Scope::Instance)?;
        let (snapshot, metrics, now) = (self.served(), self.registries().metrics, now());
        let workers = metrics.workers().iter().enumerate().map(|(id, block)| WorkerStatus {
            id,
            alive: block.is_alive(now),
            generation: block.generation.get(),
            connections: block.connections.get(),
            streams: block.open_streams.get(),
            dropped_rows: block.dropped_rows.get(),
        });
        let mut projects = ProjectCounts::default();
        for (_, part) in snapshot.projects() {
            projects.count(part);
        }
        Ok(InstanceStatus {
            generation: snapshot.generation(),
            old_generations: metrics.old_generations(),
            workers: workers.collect(),
            queue_depth: self.queue_depth(),
            projects,
            stale_seals: self.stale_seal_count().await.ok(),
            // Behind the read of the seals, which may have been what showed it.
            store: self.store().health(),
        })
    }
}

impl ProjectCounts {
    fn count(&mut self, part: &ProjectPart) {
        let slot = match part {
            part if part.is_broken() => &mut self.broken,
            part if part.is_archived() => &mut self.archived,
            _ => &mut self.served,
        };
        *slot += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Rig, kind};
    use super::*;

    #[tokio::test]
    async fn status_tells_what_each_worker_serves() {
        let rig = Rig::with_workers(2).await;
        let admin = Actor { instance_admin: true, ..rig.owner.clone() };
        assert_eq!(kind(&rig.control.instance_status(&rig.owner).await), "not_permitted");
        rig.registry().workers().iter().for_each(|worker| worker.generation.set(u64::MAX));
        let archived = rig.project_id("old").await;
        rig.control.archive_project(&rig.owner, &archived, String::new()).await.unwrap();
        let served = rig.control.served().generation();
        rig.registry().workers()[0].generation.set(0);
        rig.registry().workers()[1].generation.set(served);
        rig.registry().workers()[1].dropped_rows.add(3);
        let status = rig.control.instance_status(&admin).await.unwrap();
        assert_eq!((status.generation, status.stale_seals, &status.store), (served, Some(0), &Health::Ok));
        assert_eq!(status.projects, ProjectCounts { served: 0, broken: 0, archived: 1 });
        let seen: Vec<_> = status.workers.iter().map(|row| (row.id, row.generation, row.dropped_rows)).collect();
        assert_eq!(seen, [(0, 0, 0), (1, served, 3)]);
    }
}
