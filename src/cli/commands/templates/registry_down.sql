DROP FUNCTION register_tenant(text, text, text);
DROP TABLE rights, memberships, users, tenants;
