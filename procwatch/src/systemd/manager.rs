//! What systemd can be asked to do.

use std::time::Duration;

use zbus::{
    Message,
    zvariant::{DynamicType, OwnedObjectPath, OwnedValue, Value},
};

use super::{
    bus::{Bus, Waits},
    error::{BusError, Order},
    job::{End, JobWatch},
    names::{MANAGER, MANAGER_PATH, PROPERTIES, SERVICE, UNIT, interface_of_type},
};

/// How long a call may take that systemd answers at once.
const CALL: Duration = Duration::from_secs(5);
/// How long a unit may take to start or to stop, all in all.
const JOB: Duration = Duration::from_secs(15);
/// How long a service may take to stop, which it may do for 90 s, and to start again.
const RESTART: Duration = Duration::from_mins(2);
/// How long a daemon-reload may take: all unit files are read again and all generators run.
const RELOAD: Duration = Duration::from_secs(90);

/// A property of a unit, to be set: its name in systemd's D-Bus interface and its value.
pub type Property<'a> = (&'a str, Value<'a>);

/// The system's service manager.
#[derive(Debug)]
pub struct Manager {
    bus: Bus,
}

impl Manager {
    /// Connects to the system bus and sees that systemd answers there. Waits at most 10 s.
    ///
    /// # Errors
    /// [`BusError`] when there is no bus, or nobody answers.
    pub fn connect(waits: Waits) -> Result<Self, BusError> {
        let manager = Self { bus: Bus::connect(waits)? };
        manager.get("systemd", "tell its version", MANAGER_PATH, MANAGER, "Version")?;
        Ok(manager)
    }

    /// Makes a transient unit, starts it, and waits until that is done: at most 15 s.
    ///
    /// # Errors
    /// [`BusError::Job`] when it was made and did not start; [`BusError::Refused`] with `UnitExists` when there is a
    /// unit of that name already.
    pub fn start_transient(&self, unit: &str, properties: &[Property<'_>]) -> Result<(), BusError> {
        // A list, not an array: an empty array is nothing at all on the bus.
        let auxiliary: &[(&str, Vec<Property<'_>>)] = &[];
        self.job(
            Order { unit, verb: "start it" },
            JOB,
            "StartTransientUnit",
            &(unit, "fail", properties, auxiliary),
        )
    }

    /// Starts a unit and waits until that is done: at most 15 s. One that is active already stays as it is.
    ///
    /// # Errors
    /// [`BusError`]; among others `NoSuchUnit`.
    pub fn start(&self, unit: &str) -> Result<(), BusError> {
        self.job(Order { unit, verb: "start it" }, JOB, "StartUnit", &(unit, "replace"))
    }

    /// Stops a unit and waits until that is done: at most 15 s. One that is not there is stopped already.
    ///
    /// # Errors
    /// [`BusError`].
    pub fn stop(&self, unit: &str) -> Result<(), BusError> {
        match self.job(Order { unit, verb: "stop it" }, JOB, "StopUnit", &(unit, "replace")) {
            Err(error) if error.is("NoSuchUnit") => Ok(()),
            other => other,
        }
    }

    /// Stops a unit and starts it again, and waits until that is done: at most two minutes.
    ///
    /// # Errors
    /// [`BusError`].
    pub fn restart(&self, unit: &str) -> Result<(), BusError> {
        self.job(Order { unit, verb: "restart it" }, RESTART, "RestartUnit", &(unit, "replace"))
    }

    /// Forgets that a unit has failed, so that it can be made anew. One that is not there, or has not failed, is well.
    ///
    /// # Errors
    /// [`BusError`].
    pub fn reset_failed(&self, unit: &str) -> Result<(), BusError> {
        match self.call(Order { unit, verb: "forget its failure" }, CALL, "ResetFailedUnit", &(unit,)) {
            Err(error) if !error.is("NoSuchUnit") => Err(error),
            _ => Ok(()),
        }
    }

    /// Reads all unit files again, as `systemctl daemon-reload` does. Waits at most 90 s.
    ///
    /// # Errors
    /// [`BusError`].
    pub fn reload(&self) -> Result<(), BusError> {
        let order = Order { unit: "systemd", verb: "read its unit files again" };
        self.call(order, RELOAD, "Reload", &()).map(drop)
    }

    /// Sets properties of a unit, at once: until the next boot if `runtime`, else for ever.
    ///
    /// # Errors
    /// [`BusError`].
    pub fn set_properties(
        &self,
        unit: &str,
        runtime: bool,
        properties: &[Property<'_>],
    ) -> Result<(), BusError> {
        let order = Order { unit, verb: "set its properties" };
        self.call(order, CALL, "SetUnitProperties", &(unit, runtime, properties)).map(drop)
    }

    /// A property that every unit has: `ActiveState`, `LoadState`, `Description`, `Transient` …
    ///
    /// # Errors
    /// [`BusError`]; [`BusError::Odd`] when it has another type. Of a unit that does not exist `LoadState` is
    /// `not-found` and `ActiveState` is `inactive`: no error.
    pub fn unit_property<T: TryFrom<OwnedValue>>(&self, unit: &str, name: &str) -> Result<T, BusError> {
        self.property(unit, UNIT, name)
    }

    /// Whether a job is under way that stops a unit and starts it again.
    ///
    /// # Errors
    /// [`BusError`].
    pub fn is_restarting(&self, unit: &str) -> Result<bool, BusError> {
        let order = Order { unit, verb: READ };
        let job: OwnedValue = self.unit_property(unit, "Job")?;
        let (number, path): (u32, OwnedObjectPath) = typed(job, order)?;
        if number == 0 {
            return Ok(false);
        }
        let kind: String = typed(self.get(unit, READ, path.as_str(), JOB_INTERFACE, "JobType")?, order)?;
        Ok(kind == "restart")
    }

    /// A property of a service, scope or slice as such: `ControlGroup`, `AllowedCPUs`, `MainPID` …
    ///
    /// # Errors
    /// As for [`Self::unit_property`], and for other types of units.
    pub fn type_property<T: TryFrom<OwnedValue>>(&self, unit: &str, name: &str) -> Result<T, BusError> {
        let Some(interface) = interface_of_type(unit) else {
            return Err(Order { unit, verb: READ }.odd("it is no service, scope or slice"));
        };
        self.property(unit, interface, name)
    }

    /// The name of the unit that a process belongs to; `None` when there is no such process, or none of a unit.
    ///
    /// # Errors
    /// [`BusError`].
    pub fn unit_by_pid(&self, pid: u32) -> Result<Option<String>, BusError> {
        let about = format!("pid {pid}");
        let order = Order { unit: &about, verb: "tell its unit" };
        let answer = match self.call(order, CALL, "GetUnitByPID", &(pid,)) {
            Err(error) if error.is("NoUnitForPID") || error.is("NoSuchProcess") => return Ok(None),
            other => other?,
        };
        let path: OwnedObjectPath = body(&answer, order)?;
        let name = self.get(&about, order.verb, path.as_str(), UNIT, "Id")?;
        typed(name, order).map(Some)
    }

    fn property<T: TryFrom<OwnedValue>>(
        &self,
        unit: &str,
        interface: &str,
        name: &str,
    ) -> Result<T, BusError> {
        let order = Order { unit, verb: READ };
        let path: OwnedObjectPath = body(&self.call(order, CALL, "LoadUnit", &(unit,))?, order)?;
        typed(self.get(unit, READ, path.as_str(), interface, name)?, order)
    }

    fn get(
        &self,
        unit: &str,
        verb: &'static str,
        path: &str,
        interface: &str,
        name: &str,
    ) -> Result<OwnedValue, BusError> {
        let order = Order { unit, verb };
        let words = (interface, name);
        let answer = self.bus.wait(order, CALL, async {
            let bus = self.bus.connection();
            let called = bus.call_method(Some(SERVICE), path, Some(PROPERTIES), "Get", &words).await;
            called.map_err(|error| order.failed(&error))
        })?;
        body(&answer, order)
    }

    fn call<B>(&self, order: Order<'_>, limit: Duration, method: &str, body: &B) -> Result<Message, BusError>
    where
        B: serde::Serialize + DynamicType + Sync,
    {
        self.bus.wait(order, limit, async {
            let bus = self.bus.connection();
            let called = bus.call_method(Some(SERVICE), MANAGER_PATH, Some(MANAGER), method, body).await;
            called.map_err(|error| order.failed(&error))
        })
    }

    /// Gives an order that becomes a job, and waits for the job's end, at most `limit`.
    fn job<B>(&self, order: Order<'_>, limit: Duration, method: &str, words: &B) -> Result<(), BusError>
    where
        B: serde::Serialize + DynamicType + Sync,
    {
        let end = self.bus.wait(order, limit, async {
            let failed = |error: zbus::Error| order.failed(&error);
            let bus = self.bus.connection();
            let watch = JobWatch::begin(bus, order.unit).await.map_err(failed)?;
            let answer = bus.call_method(Some(SERVICE), MANAGER_PATH, Some(MANAGER), method, words).await;
            let job: OwnedObjectPath = body(&answer.map_err(failed)?, order)?;
            watch.end(&job, order).await
        })?;
        match end {
            End::Told(result) if result == "done" => Ok(()),
            End::Told(result) => Err(order.ended(&result)),
            // Nobody told how it ended, so the caller's look at what came of it has to decide.
            End::Vanished => Ok(()),
        }
    }
}

/// The interface of jobs.
const JOB_INTERFACE: &str = "org.freedesktop.systemd1.Job";
const READ: &str = "tell its properties";

fn body<T>(answer: &Message, order: Order<'_>) -> Result<T, BusError>
where
    T: serde::de::DeserializeOwned + zbus::zvariant::Type,
{
    answer.body().deserialize().map_err(|error| order.odd(&error.to_string()))
}

fn typed<T: TryFrom<OwnedValue>>(value: OwnedValue, order: Order<'_>) -> Result<T, BusError> {
    T::try_from(value).map_err(|_| order.odd("a property has another type than expected"))
}
