//! Classification of server errors.
//!
//! Diesel exposes the SQLSTATE only as a few error kinds. Other errors are classified by the text of their message, in
//! English and in the languages of the server's message catalogs.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::{ServerMessage, Sqlstate, sqlstate};

/// An error condition that the program handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The connection is lost, or the server is shutting down or starting up.
    ConnectionLost,
    /// A lock could not be acquired within the lock timeout (55P03).
    LockTimeout,
    /// The server detected a deadlock (40P01).
    Deadlock,
    /// The transaction could not be serialized (40001).
    Serialization,
    /// The statement was canceled by another session (57014).
    Canceled,
    /// The server is read-only, for example a standby (25006).
    ReadOnly,
    /// The disk of the server is full (53100).
    DiskFull,
    /// The shared memory of the server, usually the lock table, is full (53200).
    OutOfSharedMemory,
}

impl Condition {
    /// The condition of an error, or `None` for all other errors.
    pub(crate) fn of(error: &DieselError) -> Option<Self> {
        if ServerMessage::is_connection_lost(error) {
            return Some(Self::ConnectionLost);
        }
        let DieselError::DatabaseError(kind, info) = error else { return None };
        match kind {
            DatabaseErrorKind::SerializationFailure => Some(Self::Serialization),
            DatabaseErrorKind::ReadOnlyTransaction => Some(Self::ReadOnly),
            // The message of a short write has no reason, but this hint.
            _ if info.hint().is_some_and(|hint| CHECK_DISK_SPACE.contains(&hint)) => Some(Self::DiskFull),
            _ => Self::of_text(info.message().trim_end()),
        }
    }

    /// The SQLSTATE of the condition; `None` for a lost connection, which has one only if the server closed it.
    pub(crate) fn sqlstate(self) -> Option<Sqlstate> {
        let sqlstate = match self {
            Self::ConnectionLost => None,
            Self::LockTimeout => Some("55P03"),
            Self::Deadlock => Some("40P01"),
            Self::Serialization => Some("40001"),
            Self::Canceled => Some("57014"),
            Self::ReadOnly => Some("25006"),
            Self::DiskFull => Some("53100"),
            Self::OutOfSharedMemory => Some("53200"),
        };
        sqlstate.and_then(Sqlstate::parse)
    }

    fn of_text(message: &str) -> Option<Self> {
        let short_write = message.starts_with("could not extend file") && message.contains(": wrote only ");
        if short_write || DISK_FULL.iter().any(|text| message.ends_with(text)) {
            return Some(Self::DiskFull);
        }
        if sqlstate::of_shutdown(message).is_some() {
            return Some(Self::ConnectionLost);
        }
        let is = |texts: &[&str]| texts.contains(&message);
        [
            (Self::LockTimeout, LOCK_TIMEOUT),
            (Self::Deadlock, DEADLOCK),
            (Self::Canceled, CANCELED),
            (Self::OutOfSharedMemory, OUT_OF_SHARED_MEMORY),
        ]
        .into_iter()
        .find_map(|(condition, texts)| is(texts).then_some(condition))
    }
}

// The messages of the operating system for ENOSPC and EDQUOT, from the message catalogs of the GNU C library.

const DISK_FULL: &[&str] = &[
    "No space left on device",
    "Auf dem Gerät ist kein Speicherplatz mehr verfügbar",
    "No queda espacio en el dispositivo",
    "Aucun espace disponible sur le périphérique",
    "Spazio esaurito sul device",
    "デバイスに空き領域がありません",
    "장치에 남은 공간이 없음",
    "На устройстве не осталось свободного места",
    "Enheten är full",
    "Недостатньо місця на пристрої",
    "设备上没有空间",
    "Disk quota exceeded",
    "Der zugewiesene Plattenplatz (Quota) ist überschritten",
    "Se ha excedido la cuota de disco",
    "Débordement du quota d'espace disque",
    "Quota disco superata",
    "ディスク使用量制限を超過しました",
    "디스크 할당량이 초과됨",
    "Превышена дисковая квота",
    "Diskkvot överskriden",
    "Перевищено квоту диска",
    "超出磁盘限额",
];

// From the server's message catalogs.

const CHECK_DISK_SPACE: &[&str] = &[
    "Check free disk space.",
    "Prüfen Sie den freien Festplattenplatz.",
    "Verifique el espacio libre en disco.",
    "Vérifiez l'espace disque disponible.",
    "Controlla lo spazio libero sul disco.",
    "ディスクの空き容量をチェックしてください。",
    "შეამოწმეთ, დისკზე ადგილი დარჩა, თუ არა.",
    "디스크 여유 공간을 확인해 주십시오.",
    "Проверьте, есть ли место на диске.",
    "Kontrollera ledigt diskutrymme.",
    "Перевірьте вільний дисковий простір.",
    "检查空闲磁盘控件.",
];

// From the server's message catalogs (en, de, es, fr, it, ja, ka, ko, ru, sv, uk).

const LOCK_TIMEOUT: &[&str] = &[
    "canceling statement due to lock timeout",
    "storniere Anfrage wegen Zeitüberschreitung einer Sperre",
    "cancelando la sentencia debido a que se agotó el tiempo de espera de candados (locks)",
    "annulation de la requête à cause du délai écoulé pour l'obtention des verrous",
    "annullamento dell'istruzione a causa di timeout di lock",
    "ロックのタイムアウトのためステートメントをキャンセルしています",
    "გამოსახულება გაუქმდება ბლოკის მოლოდინის ვადის ამოწურვის გამო",
    "잠금 대기 시간 초과로 작업을 취소합니다.",
    "выполнение оператора отменено из-за тайм-аута блокировки",
    "avbryter sats på grund av lås-timeout",
    "виконання оператора скасовано через тайм-аут блокування",
];

const DEADLOCK: &[&str] = &[
    "deadlock detected",
    "Verklemmung (Deadlock) entdeckt",
    "se ha detectado un deadlock",
    "interblocage (deadlock) détecté",
    "rilevato deadlock",
    "デッドロックを検出しました",
    "ნაპოვნია ურთიერთბლოკირება",
    "deadlock 발생했음",
    "обнаружена взаимоблокировка",
    "deadlock upptäckt",
    "виявлено взаємне блокування",
];

const CANCELED: &[&str] = &[
    "canceling statement due to user request",
    "storniere Anfrage wegen Benutzeraufforderung",
    "cancelando la sentencia debido a una petición del usuario",
    "annulation de la requête à la demande de l'utilisateur",
    "annullamento dell'istruzione su richiesta dell'utente",
    "ユーザーからの要求により文をキャンセルしています",
    "사용자 요청에 의해 작업을 취소합니다.",
    "выполнение оператора отменено по запросу пользователя",
    "avbryter sats på användares begäran",
    "виконання оператора скасовано по запиту користувача",
];

const OUT_OF_SHARED_MEMORY: &[&str] = &[
    "out of shared memory",
    "Shared Memory aufgebraucht",
    "memoria compartida agotada",
    "mémoire partagée épuisée",
    "memoria condivisa esaurita",
    "共有メモリが足りません",
    "არასაკმარისი გაზიარებული მეხსიერება",
    "공유 메모리 부족",
    "нехватка разделяемой памяти",
    "slut på delat minne",
    "нестача спільної пам'яті",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_classified_by_their_text() {
        let cases = [
            ("canceling statement due to lock timeout", Some(Condition::LockTimeout)),
            ("Verklemmung (Deadlock) entdeckt", Some(Condition::Deadlock)),
            ("canceling statement due to user request", Some(Condition::Canceled)),
            ("canceling statement due to statement timeout", None),
            ("out of shared memory", Some(Condition::OutOfSharedMemory)),
            ("out of shared memory (24 bytes requested)", None),
            ("could not extend file \"base/5/16404\": No space left on device", Some(Condition::DiskFull)),
            (
                "could not extend file \"base/5/16404\": wrote only 4096 of 8192 bytes at block 5",
                Some(Condition::DiskFull),
            ),
            (
                "could not write to file \"base/pgsql_tmp/pgsql_tmp1.0\": No space left on device",
                Some(Condition::DiskFull),
            ),
            (
                "konnte Datei »base/5/1« nicht erweitern: Auf dem Gerät ist kein Speicherplatz mehr verfügbar",
                Some(Condition::DiskFull),
            ),
            ("could not extend file", None),
            ("FATAL:  the database system is starting up", Some(Condition::ConnectionLost)),
            ("relation \"deadlock detected\" does not exist", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Condition::of_text(text), expected, "{text}");
        }
    }
}
