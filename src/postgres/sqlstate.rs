//! SQLSTATEs, and which of them are temporary. Diesel exposes the SQLSTATE only as a few kinds of errors; others are known by
//! the text of the message, in English and in the languages of the server's message catalogs.

use std::fmt;

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use serde::{Serialize, Serializer};

use super::Condition;

/// A code of five characters for a kind of error of the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sqlstate([u8; 5]);

impl Sqlstate {
    /// The SQLSTATE of a text; `None` if it does not have five characters.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.is_ascii().then(|| text.as_bytes().try_into().ok().map(Self)).flatten()
    }

    /// The code, such as `40P01`.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether an error can disappear without a change of the database, of the migrations or of the settings: the connection
    /// was lost, the server starts, stops or fails over, it has too many connections, or another session holds a lock.
    pub fn is_temporary(self) -> bool {
        const TEMPORARY: [&str; 8] = ["25006", "40001", "40P01", "53300", "55P03", "57P01", "57P02", "57P03"];
        TEMPORARY.contains(&self.as_str()) || self.as_str().starts_with("08")
    }
}

impl fmt::Display for Sqlstate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Sqlstate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sqlstate({self})")
    }
}

impl Serialize for Sqlstate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The SQLSTATE of an error, if it is known.
pub(crate) fn of(error: &DieselError) -> Option<Sqlstate> {
    let DieselError::DatabaseError(kind, info) = error else { return None };
    let of_constraint = match kind {
        DatabaseErrorKind::UniqueViolation => "23505",
        DatabaseErrorKind::ForeignKeyViolation => "23503",
        DatabaseErrorKind::NotNullViolation => "23502",
        DatabaseErrorKind::CheckViolation => "23514",
        DatabaseErrorKind::RestrictViolation => "23001",
        DatabaseErrorKind::ExclusionViolation => "23P01",
        _ => {
            return of_shutdown(info.message().trim_end())
                .or_else(|| Condition::of(error).and_then(Condition::sqlstate));
        }
    };
    Sqlstate::parse(of_constraint)
}

/// The SQLSTATE of a message with which the server closes or refuses a connection because it starts or stops.
pub(crate) fn of_shutdown(message: &str) -> Option<Sqlstate> {
    let ends_with = |texts: &[&str]| texts.iter().any(|text| message.ends_with(text));
    [("57P01", ADMIN_SHUTDOWN), ("57P02", CRASH_SHUTDOWN), ("57P03", CANNOT_CONNECT_NOW)]
        .into_iter()
        .find_map(|(sqlstate, texts)| ends_with(texts).then(|| Sqlstate::parse(sqlstate))?)
}

/// The SQLSTATE with which the server refused a connection, by the message of libpq, if it is known.
pub(crate) fn of_refusal(message: &str) -> Option<Sqlstate> {
    message.lines().map(str::trim_end).find_map(|line| {
        let contains = |texts: &[&str]| texts.iter().any(|text| line.contains(text));
        let is_missing = |object: &str| line.ends_with("does not exist") && line.contains(object);
        let sqlstate = if contains(TOO_MANY_CONNECTIONS) {
            "53300"
        } else if contains(&["password authentication failed for user "]) {
            "28P01"
        } else if contains(&["no pg_hba.conf entry for ", "is not permitted to log in"]) || is_missing("  role \"") {
            "28000"
        } else if is_missing("  database \"") {
            "3D000"
        } else {
            return of_shutdown(line);
        };
        Sqlstate::parse(sqlstate)
    })
}

/// Whether a connection that could not be opened may be opened later without a change, by the message of libpq. A server that
/// rejects the role, the password or the database does so again.
pub(crate) fn is_temporary_refusal(message: &str) -> bool {
    of_refusal(message).is_some_and(Sqlstate::is_temporary) || NETWORK.iter().any(|text| message.contains(text))
}

/// Messages of libpq and of the operating system, which libpq does not translate: the program sets no locale.
const NETWORK: &[&str] = &[
    "Connection refused",
    "Connection reset by peer",
    "Connection timed out",
    "Broken pipe",
    "Host is down",
    "Is the server running",
    "Network is unreachable",
    "No route to host",
    "Operation timed out",
    "Temporary failure in name resolution",
    "could not translate host name",
    "server closed the connection unexpectedly",
    "session is read-only",
    "timeout expired",
    // Of PgBouncer.
    "no more connections allowed",
    "query_wait_timeout",
    "server login has been failing",
];

// From the server's message catalogs.

/// 57P01
const ADMIN_SHUTDOWN: &[&str] = &[
    "terminating connection due to administrator command",
    "Verbindung wird abgebrochen aufgrund von Anweisung des Administrators",
    "terminando la conexión debido a una orden del administrador",
    "arrêt des connexions suite à la demande de l'administrateur",
    "interruzione della connessione su comando dell'amministratore",
    "管理者コマンドにより接続を終了しています",
    "მიერთების შეწყვეტა ადმინისტრატორის ბრძანების გამო",
    "관리자 요청에 의해서 연결을 끝냅니다",
    "закрытие подключения по команде администратора",
    "avslutar anslutning på grund av ett administratörskommando",
    "завершення підключення по команді адміністратора",
    "由于管理员命令中断联接",
];

/// 57P02
const CRASH_SHUTDOWN: &[&str] = &[
    "terminating connection because of crash of another server process",
    "Verbindung wird abgebrochen wegen Absturz eines anderen Serverprozesses",
    "terminando la conexión debido a una falla en otro proceso servidor",
    "arrêt de la connexion à cause de l'arrêt brutal d'un autre processus serveur",
    "la connessione è stata terminata a causa del crash di un altro processo del server",
    "他のサーバープロセスがクラッシュしたため接続を終了します",
    "다른 서버 프로세스가 손상을 입어 현재 연결을 중지합니다",
    "закрытие подключения из-за краха другого серверного процесса",
    "avbryter anslutning på grund av en krash i en annan serverprocess",
    "завершення підключення через аварійне завершення роботи іншого серверного процесу",
    "中断联接, 因为其它服务器进程崩溃",
];

/// 57P03
const CANNOT_CONNECT_NOW: &[&str] = &[
    "the database system is starting up",
    "das Datenbanksystem startet",
    "el sistema de base de datos está iniciándose",
    "le système de bases de données se lance",
    "il database si sta avviando",
    "データベースシステムは起動処理中です",
    "მიმდინარეობს მონაცემთა ბაზის სისტემის გაშვება",
    "데이터베이스 시스템이 새로 가동 중입니다.",
    "система баз данных запускается",
    "databassystemet startar upp",
    "система бази даних запускається",
    "数据库系统启动中",
    "the database system is shutting down",
    "das Datenbanksystem fährt herunter",
    "el sistema de base de datos está apagándose",
    "le système de base de données s'arrête",
    "il database si sta spegnendo",
    "データベースシステムはシャットダウンしています",
    "მონაცემთა ბაზის სისტემა ითიშება",
    "데이터베이스 시스템이 중지 중입니다",
    "система баз данных останавливается",
    "databassystemet stänger ner",
    "система бази даних завершує роботу",
    "数据库系统停止中",
    "the database system is in recovery mode",
    "das Datenbanksystem ist im Wiederherstellungsmodus",
    "el sistema de base de datos está en modo de recuperación",
    "le système de bases de données est en cours de restauration",
    "il database è in modalità di ripristino",
    "データベースシステムはリカバリモードです",
    "მონაცემთა ბაზის სისტემა აღდგენის რეჟიმშია",
    "데이터베이스 시스템이 자동 복구 작업 중입니다.",
    "система баз данных в режиме восстановления",
    "databassystemet är återställningsläge",
    "система бази даних у режимі відновлення",
    "数据库系统在恢复模式中",
    "the database system is not accepting connections",
    "das Datenbanksystem nimmt keine Verbindungen an",
    "el sistema de bases de datos no está aceptando conexiones",
    "le système de bases de données n'accepte pas de connexions",
    "il sistema di database non accetta connessioni",
    "データベースシステムは接続を受け付けていません",
    "მონაცემთა ბაზის სისტემა მიერთებებს არ იღებს",
    "해당 데이터베이스 시스템은 접속을 허용하지 않습니다.",
    "система БД не принимает подключения",
    "databassystemet tar inte emot anslutningar",
    "система бази даних не приймає підключення",
    "the database system is not yet accepting connections",
    "das Datenbanksystem nimmt noch keine Verbindungen an",
    "el sistema de bases de datos aún no está aceptando conexiones",
    "le système de bases de données n'accepte pas encore de connexions",
    "il sistema di database non accetta ancora connessioni",
    "データベースシステムはまだ接続を受け付けていません",
    "მონაცემთა ბაზის სისტემა ჯერ მიერთებებს არ იღებს",
    "해당 데이터베이스 시스템은 아직 접속을 허용하지 않습니다.",
    "система БД ещё не принимает подключения",
    "databassystemet tar ännu inte emot anslutningar",
    "система бази даних ще не приймає підключення",
];

/// 53300; parts of the messages without names
const TOO_MANY_CONNECTIONS: &[&str] = &[
    "sorry, too many clients already",
    "tut mir leid, schon zu viele Verbindungen",
    "lo siento, ya tenemos demasiados clientes",
    "désolé, trop de clients sont déjà connectés",
    "spiacente, troppi client già connessi",
    "現在クライアント数が多すぎます",
    "უკაცრავად, უკვე მეტისმეტად ბევრი კლიენტია",
    "최대 동시 접속자 수를 초과했습니다.",
    "извините, уже слишком много клиентов",
    "ledsen, för många klienter",
    "вибачте, вже забагато клієнтів",
    "对不起, 已经有太多的客户",
    "remaining connection slots are reserved for ",
    "die verbleibenden Verbindungen sind für Superuser auf Nicht-Replikationsverbindungen reserviert",
    "las conexiones restantes están reservadas a superusuarios y no de replicación",
    "les emplacements de connexions restants sont réservés pour les connexions",
    "i rimanenti slot di connessione sono riservati a connessioni di superutenti non di replica",
    "残りの接続スロットはレプリケーションユーザーではないスーパーユーザー用に予約されています",
    "남은 연결 슬롯은 non-replication 슈퍼유저 연결용으로 남겨 놓았음",
    "оставшиеся слоты подключений зарезервированы для подключений суперпользователя (не для репликации)",
    "resterande anslutningsslottar är reserverade för superuser-anslutningar utan replikering",
    "слоти підключень, які залишились, зарезервовані для підключень суперкористувача (не для реплікації)",
    "已保留的连接位置为执行非复制请求的超级用户预留",
    "too many connections for role \"",
    "zu viele Verbindungen von Rolle »",
    "demasiadas conexiones para el rol «",
    "trop de connexions pour le rôle « ",
    "troppe connessioni per il ruolo \"",
    "\"からの接続が多すぎます",
    "მეტისმეტად ბევრი კავშირი როლისთვის \"",
    "\" 롤의 최대 동시 접속수를 초과했습니다",
    "слишком много подключений для роли \"",
    "för många uppkopplingar för roll \"",
    "занадто багато підключень для ролі \"",
    "\"发起的连接太多了",
    "too many connections for database \"",
    "zu viele Verbindungen für Datenbank »",
    "demasiadas conexiones para la base de datos «",
    "trop de connexions pour la base de données « ",
    "troppe connessioni al database \"",
    "\"への接続が多すぎます",
    "ძალიან ბევრი კავშირი ბაზისთვის \"",
    "\" 데이터베이스 최대 접속수를 초과했습니다",
    "слишком много подключений к БД \"",
    "för många uppkopplingar till databasen \"",
    "занадто багато підключень до бази даних \"",
    "\"的连接太多了",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_connections_are_classified_by_their_text() {
        let refused =
            |message: &str| (of_refusal(message).map(|sqlstate| sqlstate.to_string()), is_temporary_refusal(message));
        let socket = "connection to server on socket \"/run/.s.PGSQL.5432\" failed: ";
        let cases = [
            ("FATAL:  sorry, too many clients already", Some("53300"), true),
            ("FATAL:  zu viele Verbindungen von Rolle »app«", Some("53300"), true),
            (
                "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
                Some("53300"),
                true,
            ),
            ("FATAL:  the database system is starting up", Some("57P03"), true),
            ("FATAL:  das Datenbanksystem startet", Some("57P03"), true),
            ("FATAL:  password authentication failed for user \"app\"", Some("28P01"), false),
            ("FATAL:  database \"shop\" does not exist", Some("3D000"), false),
            ("FATAL:  Datenbank »shop« existiert nicht", None, false),
            ("Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?", None, true),
            ("No such file or directory\n\tIs the server running locally and accepting connections?", None, true),
            ("server does not support SSL, but SSL was required", None, false),
            ("fe_sendauth: no password supplied", None, false),
        ];
        for (message, sqlstate, temporary) in cases {
            assert_eq!(refused(&format!("{socket}{message}")), (sqlstate.map(str::to_owned), temporary), "{message}");
        }
        assert_eq!(refused("could not translate host name \"db\" to address: Name or service not known"), (None, true));
        // Of several hosts, one may be reached later.
        let several = "connection to a failed: FATAL:  database \"shop\" does not exist\nconnection to b failed: Connection refused";
        assert_eq!(refused(several), (Some("3D000".to_owned()), true));
    }
}
