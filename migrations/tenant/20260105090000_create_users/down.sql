DROP TABLE users;
DROP FUNCTION touch_updated_at();
DROP TYPE user_role;
