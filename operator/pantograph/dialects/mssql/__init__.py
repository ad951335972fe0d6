"""SQL Server 2016 and later, through pyodbc."""

from pantograph.dialects.mssql.dialect import SQLServer

__all__ = ["SQLServer"]
